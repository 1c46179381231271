"""Files built at random, held against the slow reference: what `read` gives, what a shard gives back, and what the Loader shows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from dicom_maker import BIG, NATIVE, PET, Spec, build, specs
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_reference import (
    look_up,
    low_is_white,
    modality,
    native_frame,
    rgb_of_ybr,
    usable_windows,
    voi_table,
    window,
)

import radload
from radload.loading.planning.recipe import FIXED, Recipe, Window
from radload.pack import PackOptions, pack
from radload.sources import Slice, VoiFunction, read

COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "derandomize": True,
    "print_blob": True,
    "report_multiple_bugs": False,
}
SIZE = (6, 8)


def stored_by_reference(spec: Spec, frame: int, pixel_data: bytes) -> NDArray[np.int64]:
    """(rows, cols) or (rows, cols, 3): from the file's bytes where they are native, else what was encoded."""
    _, rows, cols, samples = spec.values.shape
    if spec.syntax in NATIVE:
        pixels = native_frame(
            pixel_data, frame, rows, cols, samples=samples, planar=spec.planar, allocated=spec.allocated,
            stored=spec.stored, high=spec.high, signed=spec.signed, big=spec.syntax == BIG,
            swapped=spec.syntax == BIG and spec.allocated == 8 and spec.narrow_words,
            chroma_422=spec.photometric == "YBR_FULL_422",
        )  # fmt: skip
        values = np.array(pixels, np.int64).reshape(rows, cols, samples)
    else:
        values = spec.values[frame]
    return values if samples == 3 else values[..., 0]


def modality_by_reference(spec: Spec, frame: int, stored: NDArray[np.int64]) -> NDArray[np.float64]:
    slope, intercept = spec.rescales[frame]
    values = [modality(int(value), slope, intercept, spec.modality_lut) for value in stored.reshape(-1)]
    return np.array(values).reshape(stored.shape)


def shown_by_reference(
    spec: Spec, frame: int, stored: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the most that each pixel may be in [0, 1]: float32 may put a value on either side of a window's edge."""
    values = modality_by_reference(spec, frame, stored)
    found = []
    for nudge in (-2e-6, 0.0, 2e-6):
        y = np.empty(values.shape)
        for place, value in np.ndenumerate(values):
            if spec.voi_lut is not None:
                y[place] = voi_table(value, spec.voi_lut)
            else:
                centre, width = usable_windows(spec.function, spec.windows[frame])[0]
                moved = value + nudge * max(abs(value), abs(centre), 1.0)
                y[place] = window(moved, spec.function, centre, width)
            if low_is_white(spec.photometric, spec.presentation):
                y[place] = 1 - y[place]
            if spec.padding is not None:
                ends = [end for end in spec.padding if end is not None]
                if min(ends) <= stored[place] <= max(ends):
                    y[place] = 0.0
        found.append(y)
    return np.min(found, axis=0), np.max(found, axis=0)


def picture_by_reference(spec: Spec, stored: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a shard holds: palette applied, YBR as RGB, three equal channels as one."""
    if spec.palette is not None:
        colour = np.array([[look_up(int(v), table) for table in spec.palette] for v in stored.reshape(-1)], float)
        colour = colour.reshape(*stored.shape, 3)
    elif spec.photometric in ("YBR_FULL", "YBR_FULL_422"):
        colour = np.array([rgb_of_ybr(tuple(pixel), 8) for pixel in stored.reshape(-1, 3).tolist()]).reshape(
            stored.shape
        )
    else:
        return stored.astype(np.float64)
    return colour


def check_slice(piece: Slice, spec: Spec, frame: int, pixel_data: bytes) -> None:
    stored = stored_by_reference(spec, frame, pixel_data)
    if spec.photometric != "YBR_FULL_422":
        assert np.array_equal(stored, spec.values[frame].reshape(stored.shape))  # the reference reads what was meant
    kind = "i" if spec.signed else "u"
    assert piece.stored.dtype == np.dtype(f"{kind}{max(spec.allocated // 8, 1)}")
    np.testing.assert_array_equal(piece.stored, stored)
    assert (piece.frame, piece.exact, piece.lossy) == (frame, True, False)
    if spec.values.shape[3] == 3:
        return
    if spec.palette is not None:
        assert piece.palette is not None
        assert (piece.palette_first, piece.palette_bits) == spec.palette[0][:2]
        np.testing.assert_array_equal(piece.palette, np.array([table[2] for table in spec.palette]).T)
        return
    np.testing.assert_allclose(piece.modality(), modality_by_reference(spec, frame, stored), rtol=1e-9, atol=1e-300)
    usable = usable_windows(spec.function, spec.windows[frame])
    assert list(zip(piece.centres, piece.widths, strict=True)) == usable
    if spec.voi_lut is not None:
        assert piece.voi_function is VoiFunction.LUT and piece.voi_lut is not None
        assert (piece.voi_lut.first, piece.voi_lut.values.tolist()) == (spec.voi_lut[0], list(spec.voi_lut[2]))
    else:
        assert piece.voi_function.name == ((spec.function or "LINEAR") if usable else "NONE")
    ends = [end for end in spec.padding or () if end is not None]
    assert piece.padding == ((min(ends), max(ends)) if ends else None)
    assert piece.invert == low_is_white(spec.photometric, spec.presentation)


def read_back(spec: Spec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        pixel_data = build(path, spec)
        pieces = list(read(path))
    assert len(pieces) == spec.frames
    for frame, piece in enumerate(pieces):
        assert isinstance(piece, Slice)
        check_slice(piece, spec, frame, pixel_data)


def pack_and_look(files: list[Spec]) -> None:
    """Pack the files, every second one in the series of its neighbour, and hold each sample against the reference."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "src").mkdir()
        data = {}
        for number, spec in enumerate(files, start=1):
            alike = spec.sop_class == PET and number > 1 and files[number - 2].sop_class == PET
            data[f"{number}.dcm"] = (
                spec,
                build(folder / "src" / f"{number}.dcm", spec, f"1.2.5.{number - alike}", number),
            )
        summary = pack(PackOptions(folder / "src", folder / "out", split="100/0/0", workers=0, color="auto"))
        assert (summary.packed, summary.rejected, summary.frames_rejected) == (len(files), {}, 0)
        crosswalk = pq.read_table(folder / "out.private/crosswalk.parquet").to_pylist()
        origin = {int(row["key"]): (row["source"], row["frame"]) for row in crosswalk}
        with radload.open(folder / "out") as dataset:
            assert len(dataset) == sum(spec.frames for spec in files)
            expected = {}
            for sample in dataset:
                source, frame = origin[int(sample.key)]
                spec, pixel_data = data[source]
                expected[sample.row] = spec, frame, stored_by_reference(spec, frame, pixel_data)
                check_sample(sample, *expected[sample.row])
        check_loader(folder / "out", expected)


def check_sample(sample: radload.Sample, spec: Spec, frame: int, stored: NDArray[np.int64]) -> None:
    picture = picture_by_reference(spec, stored)
    got = sample.stored.astype(np.float64)
    if spec.photometric in ("YBR_FULL", "YBR_FULL_422"):
        shown = got if got.ndim == 3 else np.repeat(got[..., None], 3, axis=-1)
        assert np.abs(shown - picture).max() <= 1
        assert not sample.meta["exact"]
        return
    if picture.ndim == 3 and (picture == picture[..., :1]).all():
        picture = picture[..., 0]
    np.testing.assert_array_equal(got, picture)
    assert sample.meta["exact"] == (spec.palette is None)
    if spec.values.shape[3] == 1 and spec.palette is None:
        slope, intercept = spec.rescales[frame]
        scale = (
            np.abs(stored).max() * abs(float(slope or 1)) + abs(float(intercept or 0)) if not spec.modality_lut else 0.0
        )
        np.testing.assert_allclose(
            sample.modality(), modality_by_reference(spec, frame, stored), rtol=1e-6, atol=1e-7 * scale
        )


def check_loader(out: Path, expected: dict[int, tuple[Spec, int, NDArray[np.int64]]]) -> None:
    """One channel, the file's own VOI, at the image's own size: no resampling, so y is the window's output itself."""
    recipe = Recipe("file", {"*": (Window(FIXED, 0.0, 1.0),)}, file_voi=True, mean=(0.0,), std=(1.0,))
    seen = 0
    with radload.Loader(
        out, batch_size=8, size=SIZE, window=recipe, shuffle=False, drop_last=False, labels=False, threads=1
    ) as loader:
        for batch in loader:
            for row, valid, image in zip(batch["index"].tolist(), batch["valid"], batch["image"].numpy(), strict=True):
                if not valid:
                    assert row not in expected or row < 0
                    continue
                spec, frame, stored = expected[row]
                seen += 1
                if stored.ndim == 3 or spec.palette is not None:
                    continue
                if spec.voi_lut is None and not usable_windows(spec.function, spec.windows[frame]):
                    continue
                low, high = shown_by_reference(spec, frame, stored)
                assert (image[0] >= low - 1e-5).all() and (image[0] <= high + 1e-5).all(), (
                    spec,
                    frame,
                    image[0],
                    low,
                    high,
                )
    assert seen == len(expected)


@settings(max_examples=500, **COMMON)
@given(spec=specs())
def test_what_is_read_is_what_the_standard_says(spec: Spec) -> None:
    event(f"syntax {spec.syntax}")
    event(f"photometric {spec.photometric}")
    read_back(spec)


@settings(max_examples=6, **COMMON)
@given(files=st.lists(specs(SIZE, fewest_bits=8), min_size=10, max_size=14))
def test_what_is_packed_and_shown_is_what_the_standard_says(files: list[Spec]) -> None:
    pack_and_look(files)


@pytest.mark.soak
@settings(max_examples=15_000, **{**COMMON, "derandomize": False})
@given(spec=specs())
def test_many_files_are_read_as_the_standard_says(spec: Spec) -> None:
    read_back(spec)


@pytest.mark.soak
@settings(max_examples=150, **{**COMMON, "derandomize": False})
@given(files=st.lists(specs(SIZE, fewest_bits=8), min_size=10, max_size=14))
def test_many_files_are_packed_and_shown_as_the_standard_says(files: list[Spec]) -> None:
    pack_and_look(files)
