"""Pixels are those of kernels.reference on the level of the stored values, for every kind of sample that a data set may hold.

The loader's own code is driven without its process: plan, read, decode and render, as each of its threads does.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, ct_slice, modality_values, write_dataset
from numpy.typing import NDArray

from radload.codecs.wavelet import iterate_levels
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.schema import Codec
from radload.dataset.shards import ShardFiles
from radload.kernels import reference
from radload.kernels.prepare import Voi
from radload.loading.deliver import PixelDeliverer
from radload.loading.planning.augment import intensity
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.planning.recipe import Recipe, make_recipe
from radload.sources.slice import Units, VoiFunction

STD = 0.25
TOLERANCE = 1e-5 / STD
RNG = np.random.default_rng(8)


def settings(recipe: Recipe, size: tuple[int, int] = (24, 20), **changes: Any) -> Settings:
    values = {"dtype": "float32", "level_slack": 1.0, "resolution": "auto", "augment": None, "seed": 4} | changes
    return Settings(size=size, recipe=recipe, **values)


def render_all(
    root: Path, wanted: Settings, rows: list[int] | None = None, epoch: int = 0, positions: list[int] | None = None
) -> tuple[NDArray[np.float32], BatchPlan]:
    """Rows of a data set (all by default, each drawn at the position of its number) through plan and deliverer."""
    index = open_index(root, read_manifest(root))
    count = len(index.records)
    chosen = np.array(rows if rows is not None else range(count), np.int64)
    drawn_at = chosen if positions is None else np.array(positions, np.int64)
    planner = Planner(index, wanted)
    with ShardFiles(root, index.shard_names) as files:
        deliverer = PixelDeliverer(files, planner, range(count), replace=False)
        plan = planner.plan(chosen, epoch, drawn_at)
        arrays: dict[str, NDArray[Any]] = {
            "image": np.full((len(chosen), wanted.recipe.channels, *wanted.size), np.nan, np.float32),
            "rows": np.full(len(chosen), -1, np.int64),
            "valid": np.ones(len(chosen), np.bool_),
        }
        places = np.arange(len(chosen))
        deliverer.begin(arrays, plan, places)
        tools = deliverer.tools()
        for i in places:
            assert not deliverer.deliver(arrays, int(i), plan, int(i), epoch, int(drawn_at[i]), tools).failures
    return arrays["image"], plan


def expected(
    image: Image, windows: list[reference.Window], plan: BatchPlan, i: int, size: tuple[int, int]
) -> NDArray[Any]:
    """The reference on level_k(stored), from unbounded integers: neither bias, nor codec, nor records."""
    level = int(plan.levels[i])
    stored: NDArray[Any] = image.stored
    if level:
        stored = list(iterate_levels(stored.astype(np.int32), level))[-1]
    if stored.ndim == 3:
        stored = reference.luma(stored)
    sample = plan.samples[i]
    return reference.render(
        stored,
        windows,
        size,
        full=image.stored.shape[:2],
        level=level,
        crop=tuple(float(sample[n]) for n in ("top", "left", "height", "width")),
        flip=(bool(sample["flip"]), False),
        slope=image.slope,
        intercept=image.intercept,
        invert=image.invert,
        padding=image.padding,
        mean=[0.5] * len(windows),
        std=[STD] * len(windows),
        angle=math.degrees(math.atan2(sample["sine"], sample["cosine"])),
        gamma=float(sample["gamma"]),
        noise=float(sample["noise"]),
        key=(int(sample["key_low"]), int(sample["key_high"])),
    )


def moved(windows: list[reference.Window], wanted: Settings, i: int) -> list[reference.Window]:
    """The windows of draw i of epoch 0: jittered as the augmentation says."""
    grey = intensity(wanted.augment, wanted.seed, 0, np.array([i]))
    if grey is None:
        return windows
    shift, factor = grey.shifts[0], grey.factors[0]
    return [reference.Window(w.function, w.centre + shift * w.width, w.width * factor) for w in windows]


def exact(centre: float, width: float) -> reference.Window:
    return reference.Window(Voi.LINEAR_EXACT, centre, width)


def between(low: float, high: float) -> reference.Window:
    return exact((low + high) / 2, high - low)


def compare(tmp_path: Path, series: Series, recipe: Recipe, windows: Any, **changes: Any) -> BatchPlan:
    """Every image of a series against the reference; `windows` is one list, or a function of the image."""
    root = write_dataset(tmp_path / "d", [series])
    wanted = settings(recipe, **changes)
    found, plan = render_all(root, wanted)
    for i, image in enumerate(series.images):
        here = moved(windows(image) if callable(windows) else windows, wanted, i)
        want = expected(image, here, plan, i, wanted.size)
        assert np.abs(found[i] - want).max() <= TOLERANCE, f"image {i} at level {plan.levels[i]}"
    return plan


LUNG, SOFT, BONE = exact(-600, 1500), exact(40, 400), exact(400, 1800)


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
@pytest.mark.parametrize("augment", [None, "default"])
def test_ct_at_all_levels(tmp_path: Path, codec: str, augment: str | None) -> None:
    sizes = [(64, 64), (200, 160), (31, 57), (24, 20), (1, 1), (400, 330)]
    images = [Image(ct_slice(i, *size), intercept=-1024.0, codec=codec) for i, size in enumerate(sizes)]
    plan = compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE], augment=augment)
    assert len(set(plan.levels.tolist())) == (1 if codec == "raw" else 4 if augment is None else 3)


def test_slack_and_full_resolution(tmp_path: Path) -> None:
    images = [Image(ct_slice(i, 40, 40), intercept=-1024.0) for i in range(2)]
    for name, changes, level in (("a", {"level_slack": 1.5}, 1), ("b", {}, 0), ("c", {"resolution": "full"}, 0)):
        (tmp_path / name).mkdir()
        plan = compare(tmp_path / name, Series(images), make_recipe(), [LUNG, SOFT, BONE], **changes)
        assert plan.levels.tolist() == [level] * 2


@pytest.mark.parametrize(("window", "level"), [("brain", 0), ("soft_tissue", 1)])
def test_narrow_ct_windows_decode_in_full(tmp_path: Path, window: str, level: int) -> None:
    images = [Image(ct_slice(1, 50, 50), intercept=-1024.0)]
    reference_window = exact(40, 80) if window == "brain" else SOFT
    plan = compare(tmp_path, Series(images), make_recipe(window, 1), [reference_window])
    assert plan.levels.tolist() == [level]


def test_mr_uses_percentiles_of_the_series(tmp_path: Path) -> None:
    images = [Image(RNG.gamma(2, 150, (30, 44)).astype(np.uint16), slope=1.7) for _ in range(3)]
    values = np.concatenate([modality_values(i).ravel() for i in images])
    low, high = (float(np.float32(np.percentile(values, p))) for p in (0.5, 99.5))
    compare(tmp_path, Series(images, "MR", Units.UNSPECIFIED), make_recipe(), [between(low, high)] * 3)


def test_pet_starts_at_zero(tmp_path: Path) -> None:
    images = [Image(RNG.gamma(1, 900, (32, 32)).astype(np.uint16), slope=0.31)]
    high = float(np.float32(np.percentile(modality_values(images[0]), 99.5)))
    compare(tmp_path, Series(images, "PT", Units.BQML), make_recipe(None, 1), [between(0, high)])


@pytest.mark.parametrize(
    ("top", "dtype", "full"), [(200, np.uint8, 255), (900, np.uint16, 1023), (40_000, np.uint16, 65_535)]
)
def test_display_values_use_the_range_of_their_type(tmp_path: Path, top: int, dtype: type, full: int) -> None:
    images = [Image(RNG.integers(0, top + 1, (25, 30)).astype(dtype)) for _ in range(2)]
    images[0].stored[0, 0] = top
    compare(tmp_path, Series(images, "OT", Units.DISPLAY), make_recipe(None, 1), [between(0, full)])


def test_colour_becomes_luma_before_the_window(tmp_path: Path) -> None:
    images = [Image(RNG.integers(0, 256, (60, 50, 3)).astype(np.uint8), codec=c) for c in ("htj2k", "raw")]
    plan = compare(tmp_path, Series(images, "US", Units.UNSPECIFIED), make_recipe(), [between(0, 255)] * 3)
    assert plan.levels.tolist() == [1, 0]


def test_luma_loses_nothing_to_the_coded_bias(tmp_path: Path) -> None:
    """HTJ2K codes 8-bit colour as 32,640 and more, where float32 keeps 1/256 of a level: luma is counted from the window."""
    rng = np.random.default_rng(3)
    images = [Image(rng.integers(0, 256, (60, 50, 3)).astype(np.uint8)) for _ in range(4)]
    root = write_dataset(tmp_path / "d", [Series(images, "US", Units.DISPLAY)])
    wanted = settings(make_recipe())
    found, plan = render_all(root, wanted)
    assert (plan.levels == 1).all() and (plan.records["bias"] > 30_000).all()
    for i, image in enumerate(images):
        want = expected(image, [between(0, 255)] * 3, plan, i, wanted.size)
        assert np.abs(found[i] - want).max() * STD < 1e-6


def test_luma_with_a_modality_table_and_padding(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    stored = rng.integers(10, 250, (30, 28, 3)).astype(np.uint8)
    stored[:7] = 0
    curve = [float(v) for v in np.linspace(-500, 900, 256)]
    images = [
        Image(stored, padding=(0, 0), codec=codec, averaging=False, modality_lut=lut)
        for codec in ("htj2k", "raw")
        for lut in (None, (0, curve))
    ]
    found, _ = render_all(
        write_dataset(tmp_path / "d", [Series(images, "CT", Units.HU)]), settings(make_recipe("soft_tissue", 1))
    )
    grey = reference.luma(stored)
    for i, image in enumerate(images):
        value = grey if image.modality_lut is None else np.array(curve)[np.rint(grey).astype(int)]
        y = np.where(grey == 0, 0, reference.voi(value, Voi.LINEAR_EXACT, 40, 400))
        want = reference.render(y, [exact(0.5, 1.0)], (24, 20), mean=[0.5], std=[STD])
        assert np.abs(found[i] - want).max() <= TOLERANCE, i


def test_a_modality_table_over_32_bit_values(tmp_path: Path) -> None:
    """Values that are counted from the window keep their place in a table over stored values."""
    stored = np.random.default_rng(5).integers(0, 900, (30, 28)).astype(np.int32)
    curve = [float(v) for v in np.linspace(-500, 900, 900)]
    image = Image(stored, codec="raw", averaging=False, modality_lut=(0, curve))
    found, _ = render_all(write_dataset(tmp_path / "d", [Series([image])]), settings(make_recipe("soft_tissue", 1)))
    y = reference.voi(np.array(curve)[stored], Voi.LINEAR_EXACT, 40, 400)
    want = reference.render(y, [exact(0.5, 1.0)], (24, 20), mean=[0.5], std=[STD])
    assert np.abs(found[0] - want).max() <= TOLERANCE


def test_inversion_and_padding(tmp_path: Path) -> None:
    stored = ct_slice(3, 48, 48)
    stored[:9] = -2000
    images = [
        Image(stored, intercept=-1024.0, invert=invert, padding=(-2000, -2000), codec=codec)
        for invert in (False, True)
        for codec in ("htj2k", "raw")
    ]
    compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE])


@pytest.mark.parametrize("dtype", ["i1", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_stored_type(tmp_path: Path, dtype: str) -> None:
    base = RNG.integers(-100, 100, (20, 30)) if dtype == "i1" else RNG.integers(0, 3000, (20, 30))
    stored = (base + (2**30 if dtype.endswith(("4", "8")) and dtype[0] in "iu" else 0)).astype(dtype)
    intercept = -1024.0 - (2**30 if stored.max() > 10**6 else 0)
    images = [Image(stored, intercept=intercept, codec="raw")]
    compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE])


def test_not_a_number_is_padding(tmp_path: Path) -> None:
    for i, dtype in enumerate((np.float32, np.float64)):
        stored = RNG.normal(40, 100, (20, 20)).astype(dtype)
        stored[3, 4:9], stored[0, 0] = np.nan, np.inf
        (tmp_path / str(i)).mkdir()
        compare(tmp_path / str(i), Series([Image(stored, codec="raw")]), make_recipe("soft_tissue", 1), [SOFT])


def test_the_files_own_window(tmp_path: Path) -> None:
    kinds = [
        (VoiFunction.LINEAR, 50.0, 350.0, Voi.LINEAR),
        (VoiFunction.LINEAR_EXACT, 50.0, 350.0, Voi.LINEAR_EXACT),
        (VoiFunction.SIGMOID, 100.0, 300.0, Voi.SIGMOID),
        (VoiFunction.LINEAR, 10.0, 1.0, Voi.LINEAR),
        (VoiFunction.NONE, np.nan, np.nan, None),
        (VoiFunction.LINEAR, 40.0, 0.0, None),
        (VoiFunction.LINEAR, np.nan, 80.0, None),
    ]
    images = [
        Image(ct_slice(i, 40, 36), intercept=-1024.0, voi=v, centre=c, width=w) for i, (v, c, w, _) in enumerate(kinds)
    ]

    def windows(image: Image) -> list[reference.Window]:
        kind = kinds[[i is image for i in images].index(True)][3]
        return [LUNG, SOFT, BONE] if kind is None else [reference.Window(kind, image.centre, image.width)] * 3

    compare(tmp_path, Series(images), make_recipe("file"), windows)


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_look_up_tables(tmp_path: Path, codec: str) -> None:
    """Modality LUT before any window; VOI LUT on request; both together; a VOI LUT that is not asked for does nothing."""
    curve = [float(v) for v in (np.linspace(0, 1, 700) ** 2 * 4095).astype(int)]
    hounsfield = [float(v) for v in np.linspace(-1000, 1500, 900).round()]
    stored = RNG.integers(0, 1000, (30, 28)).astype(np.uint16)
    plain = {"averaging": False, "codec": codec}
    images = [
        Image(stored, modality_lut=(50, hounsfield), **plain),
        Image(stored, voi=VoiFunction.LUT, voi_lut=(100, curve), intercept=-10.0, **plain),
        Image(stored, voi=VoiFunction.LUT, voi_lut=(-300, curve), modality_lut=(50, hounsfield), invert=True, **plain),
        Image(stored, voi=VoiFunction.LUT, voi_lut=(100, curve), slope=0.5, **plain),
    ]
    root = write_dataset(tmp_path / "d", [Series(images)])
    size = (24, 20)
    for name in ("file", "soft_tissue"):
        found, _ = render_all(root, settings(make_recipe(name, 1), size))
        for i, image in enumerate(images):
            value = modality_values(image)
            if name == "file" and image.voi_lut is not None:
                first, entries = image.voi_lut
                y = np.array(entries)[np.clip(np.rint(value) - first, 0, len(entries) - 1).astype(int)] / 4095
            elif name == "file":
                y = reference.voi(value, Voi.LINEAR_EXACT, 0.0, 2000.0)  # the default's one CT channel
            else:
                y = reference.voi(value, Voi.LINEAR_EXACT, 40, 400)
            y = 1 - y if image.invert else y
            want = reference.render(y, [exact(0.5, 1.0)], size, mean=[0.5], std=[STD])
            assert np.abs(found[i] - want).max() <= TOLERANCE, (name, i)


def test_a_batch_equals_its_samples(mixed_data: Path, ct_data: Path) -> None:
    """What stands beside a sample in a batch changes no bit of it."""
    for root in (mixed_data, ct_data):
        wanted = settings(make_recipe(), augment="default")
        whole, _ = render_all(root, wanted, epoch=3)
        for row in range(0, len(whole), 5):
            alone, _ = render_all(root, wanted, [row], epoch=3)
            assert np.array_equal(alone[0], whole[row])


def test_the_shards_hold_both_codecs_as_asked(tmp_path: Path) -> None:
    """The cases above would prove nothing if the shards held another codec."""
    images = [Image(ct_slice(1, 8, 8), codec="htj2k"), Image(ct_slice(1, 8, 8), codec="raw")]
    root = write_dataset(tmp_path / "d", [Series(images)])
    records = open_index(root, read_manifest(root)).records
    assert records["codec"].tolist() == [Codec.HTJ2K, Codec.RAW]
