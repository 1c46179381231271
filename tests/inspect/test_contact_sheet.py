"""The contact sheet shows what a model sees: the recipe's windows through the loader's kernel, every patient before any twice."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import radload
from radload.dataset.schema import RECORD
from radload.errors import UsageError
from radload.inspect import write_contact_sheet
from radload.inspect.command import inspect
from radload.inspect.contact_sheet import CELL, COLUMNS, Renderer, describe, fit, name_of
from radload.inspect.pick import groups, picks
from radload.kernels import reference
from radload.kernels.prepare import Voi
from radload.loading.planning.recipe import FIXED, Window, default_recipe


def test_cells_agree_with_the_reference(phantom_shards: dict[str, Path]) -> None:
    recipe = default_recipe(3)
    with radload.open(phantom_shards["plain"]) as dataset:
        renderer = Renderer(dataset, 96)
        for row in range(0, len(dataset), 7):
            sample = dataset[row]
            if sample.meta["modality"] == "CT":
                wanted = [(w.centre, w.width) for w in recipe.windows["CT"]]
            else:
                low, high = (sample.meta["statistics"][name] for name in ("p005", "p995"))
                wanted = [((low + high) / 2, high - low)] * 3
            got = renderer.render(row)
            windows = [reference.Window(Voi.LINEAR_EXACT, centre, width) for centre, width in wanted]
            padding = sample.meta["padding"]
            expected = reference.render(
                sample.stored, windows, got.shape[1:], slope=sample.meta["slope"], intercept=sample.meta["intercept"],
                invert=sample.meta["invert"], padding=padding,
            )  # fmt: skip
            np.testing.assert_allclose(got, expected, atol=2e-5)


def test_the_sheet_is_the_same_every_time_and_as_large_as_its_rows(
    phantom_shards: dict[str, Path], tmp_path: Path
) -> None:
    with radload.open(phantom_shards["labelled"]) as dataset:
        notes = [write_contact_sheet(dataset, tmp_path / name) for name in ("a.png", "b.png")]
        rows = len(groups(dataset))
    assert notes == [[], []]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width > COLUMNS * CELL
        assert sheet.height > rows * CELL
        pixels = np.asarray(sheet.convert("L"))
    assert rows == 6
    assert pixels.std() > 20  # there is something to see


def test_no_labels_gives_a_row_per_modality(phantom_shards: dict[str, Path]) -> None:
    with radload.open(phantom_shards["plain"]) as dataset:
        found = groups(dataset)
        assert sorted(group.name for group in found) == ["CT", "DX", "MR"]
        assert sum(len(group.rows) for group in found) == len(dataset)


def test_every_patient_comes_before_any_comes_twice(phantom_shards: dict[str, Path]) -> None:
    with radload.open(phantom_shards["plain"]) as dataset:
        for group in groups(dataset):
            chosen = list(picks(dataset, group.rows))
            patients = [dataset[row].meta["patient"] for row in chosen]
            everybody = {dataset[int(row)].meta["patient"] for row in group.rows}
            assert set(patients[: len(everybody)]) == everybody
            assert len(set(chosen)) == len(chosen)
            assert set(chosen) <= set(group.rows.tolist())
            assert list(islice(picks(dataset, group.rows), 4)) == chosen[:4]


@given(
    st.integers(1, 65_535),
    st.integers(1, 65_535),
    st.floats(0.01, 20) | st.just(float("nan")),
    st.floats(0.01, 20) | st.just(float("nan")),
    st.integers(16, 400),
)
def test_fitted_sizes_fill_the_cell_and_keep_the_aspect(rows: int, cols: int, dy: float, dx: float, cell: int) -> None:
    record = np.zeros((), RECORD)
    record["rows"], record["cols"], record["spacing_row"], record["spacing_col"] = rows, cols, dy, dx
    height, width = fit(record[()], cell)
    assert max(height, width) == cell
    assert min(height, width) >= 1
    if np.isnan(dy) or np.isnan(dx):
        short = min(rows, cols) / max(rows, cols) * cell
        assert abs(min(height, width) - max(short, 1)) <= 1


def test_damaged_samples_leave_an_empty_cell_and_a_note(phantom_shards: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "shards"
    shutil.copytree(phantom_shards["plain"], root)
    shard = next((root / "train").iterdir())
    content = bytearray(shard.read_bytes())
    content[2000:-2000:501] = bytes(255 - value for value in content[2000:-2000:501])
    shard.chmod(0o644)
    shard.write_bytes(content)
    with radload.open(root) as dataset:
        (note,) = write_contact_sheet(dataset, tmp_path / "sheet.png")
    assert "could not be read" in note
    assert (tmp_path / "sheet.png").is_file()


def test_windows_are_named() -> None:
    recipe = default_recipe(3)
    assert describe(recipe, "CT") == "lung -600/1500 HU, soft tissue 40/400 HU, bone 400/1800 HU"
    assert describe(recipe, "MR") == "p0.5 to p99.5 of the series"
    assert [name_of(w) for w in recipe.windows["CT"]] == ["lung", "soft tissue", "bone"]
    assert name_of(Window(FIXED, 12.5, 30.0)) == "12.5/30"


def test_command_writes_the_sheet_and_refuses_what_it_cannot_use(
    phantom_shards: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inspect(phantom_shards["labelled"], tmp_path / "contact.png")
    assert "CT nodule" in capsys.readouterr().out
    assert (tmp_path / "contact.png").is_file()
    with pytest.raises(UsageError, match=r"\.png"):
        inspect(phantom_shards["labelled"], tmp_path / "contact.jpg")
    with pytest.raises(UsageError, match="no folder"):
        inspect(phantom_shards["labelled"], tmp_path / "nowhere" / "contact.png")
    with pytest.raises(UsageError, match="no label set"):
        inspect(phantom_shards["labelled"], tmp_path / "contact.png", "missing")
    with pytest.raises(UsageError):
        inspect(tmp_path, tmp_path / "contact.png")
