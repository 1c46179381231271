"""`radload.open`: every sample by row, key and series, exact in stored values; damage costs one sample and is told in one sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "loading"))

from make import Image, Series, modality_values, write_dataset

import radload
from radload.dataset import Dataset, shards
from radload.dataset.labels import LabelSet, write_labels
from radload.dataset.schema import key_text
from radload.errors import CorruptSample, FormatError, UsageError
from radload.sources.slice import Units, VoiFunction

RANDOM = np.random.default_rng(11)


def noise(dtype: str, shape: tuple[int, ...] = (21, 34), low: int = 0, high: int = 200) -> Any:
    return RANDOM.integers(low, high, shape).astype(dtype)


SERIES = [
    Series(
        [
            Image(noise("i2", low=-1024, high=3000), slope=2.0, intercept=-24.5, padding=(-2000, -1500)),
            Image(noise("i2", (20, 34), -3000, 3000), intercept=7.0, voi=VoiFunction.LINEAR, centre=40, width=400),
            Image(noise("i2", low=-32768, high=32768)),
        ],
        body_part="CHEST",
        echo_time=2.5,
    ),
    Series([Image(noise("u1", (17, 40, 3), high=256), view="AP")], "US", Units.DISPLAY),
    Series([Image(RANDOM.normal(size=(9, 7)).astype("f4"), slope=0.1), Image(RANDOM.normal(size=(9, 7)))], "MR"),
    Series(
        [
            Image(noise("u1", high=9), modality_lut=(2, [0.25, 10.0, -3.5, 99.0]), averaging=False),
            Image(noise("u2", high=65536), invert=True),
        ],
        "CR",
        Units.UNSPECIFIED,
        split="val",
    ),
    Series([Image(noise("u4", high=2**32), slope=1e-3), Image(noise("i8", low=-5, high=5)), Image(noise("i1", (1, 1), -9, 9))]),
    Series([Image(noise("u2", high=4096), codec="raw"), Image(noise("u8", (65, 1)))], split="test"),
]  # fmt: skip
ORDER = [0, 1, 2, 4, 3, 5]  # by split


def open_shards(folder: Path) -> list[str]:
    """Shards of `folder` that this process has open."""
    names = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    return [name for name in names if name.startswith(f"{folder.resolve()}/") and name.endswith(".tar")]


def images() -> list[Image]:
    """In order of rows."""
    return [image for number in ORDER for image in SERIES[number].images]


COUNT = len(images())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    codes = np.array([row % 3 - 1 for row in range(COUNT)], np.int32)
    labels = LabelSet("default", "single", ("lung", "brain"), codes, "csv")
    return write_dataset(tmp_path_factory.mktemp("dataset") / "shards", SERIES, labels)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small data set to damage: 3 shards."""
    series = [Series([Image(noise("i2"))] * 2, split=split) for split in ("train", "val", "test")]
    return write_dataset(tmp_path / "shards", series)


@pytest.fixture
def dataset(folder: Path) -> Iterator[Dataset]:
    with radload.open(folder) as opened:
        yield opened


def test_length_splits_classes_and_iteration(dataset: Dataset, folder: Path) -> None:
    assert len(dataset) == COUNT == 13
    assert dataset.splits == {"train": 9, "val": 2, "test": 2}
    assert dataset.classes == ("lung", "brain")
    samples = list(dataset)
    assert [sample.row for sample in samples] == list(range(COUNT))
    assert [sample.key for sample in samples] == [key_text(key) for key in range(COUNT)]
    assert [sample.split for sample in samples] == ["train"] * 9 + ["val"] * 2 + ["test"] * 2
    assert "13 samples" in repr(dataset) and str(folder) in repr(dataset)
    assert "000000000003, train, US, (17, 40, 3), label=None" in repr(samples[3])


def test_rows_and_keys(dataset: Dataset) -> None:
    assert dataset[-1].row == COUNT - 1 and dataset[-COUNT].row == 0 and dataset[np.int64(4)].row == 4
    assert dataset["000000000012"].row == 12 and dataset["12"].key == "000000000012"
    for row in (COUNT, -COUNT - 1, 42):
        with pytest.raises(IndexError, match=f"{row} of 13"):
            dataset[row]
    for key in ("000000000042", "", "1.2", "-1", "x", "9" * 30):
        with pytest.raises(KeyError):
            dataset[key]
    for wrong in (1.5, None, slice(2)):
        with pytest.raises(TypeError):
            dataset[wrong]  # type: ignore[index]


@pytest.mark.parametrize("row", range(COUNT))
def test_stored_and_modality_values_are_exact(dataset: Dataset, row: int) -> None:
    image, sample = images()[row], dataset[row]
    assert sample.stored.dtype == image.stored.dtype and sample.shape == sample.stored.shape
    np.testing.assert_array_equal(sample.stored, image.stored)
    modality = sample.modality()
    assert modality.dtype == np.float32 and modality.shape == image.stored.shape
    np.testing.assert_array_equal(modality, modality_values(image).astype(np.float32))


def test_a_modality_table_replaces_the_rescale(dataset: Dataset) -> None:
    sample = dataset[9]
    values = {stored: np.unique(sample.modality()[sample.stored == stored]).tolist() for stored in (0, 2, 3, 5, 8)}
    assert values == {0: [0.25], 2: [0.25], 3: [10.0], 5: [99.0], 8: [99.0]}


def test_every_codec_and_dtype_was_tried(dataset: Dataset) -> None:
    found = {(sample.meta["codec"], sample.meta["dtype"]) for sample in dataset}
    assert {codec for codec, _ in found} == {"htj2k", "raw"}
    assert {dtype for _, dtype in found} == {
        "int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64", "float32", "float64",
    }  # fmt: skip
    assert found >= {("raw", "float32"), ("raw", "uint32"), ("raw", "uint16"), ("htj2k", "uint16"), ("htj2k", "int64")}


def test_meta_says_what_the_index_says(dataset: Dataset) -> None:
    meta = dataset[0].meta
    expected = {
        "key": "000000000000", "shard": "train/000000.tar", "series": 0, "patient": 0, "study": 0, "position": 0,
        "rows": 21, "cols": 34, "channels": 1, "dtype": "int16", "codec": "htj2k", "slope": 2.0, "intercept": -24.5,
        "units": "HU", "voi": "NONE", "invert": False, "exact": True, "lossy": False, "padding": (-2000, -1500),
        "spacing": (0.5, 0.5), "modality": "CT", "body_part": "CHEST", "echo_time": 2.5, "manufacturer": None,
        "series_pseudonym": "e0", "modality_lut": None, "view": None, "format": "dicom",
    }  # fmt: skip
    assert {name: meta[name] for name in expected} == expected
    assert meta["safe_levels"] == 4
    values = np.concatenate([modality_values(image).ravel() for image in SERIES[0].images])
    np.testing.assert_allclose(meta["statistics"]["mean"], values.mean(), rtol=1e-6)
    assert (
        dataset[1].meta["voi"] == "LINEAR" and dataset[1].meta["position"] == 1 and dataset[1].meta["padding"] is None
    )
    assert (
        dataset[3].meta["view"] == "AP" and dataset[3].meta["units"] == "DISPLAY" and dataset[3].meta["channels"] == 3
    )
    assert dataset[9].meta["modality_lut"] == 0 and dataset[9].meta["safe_levels"] == 0 and dataset[10].meta["invert"]
    assert (dataset[4].meta["codec"], dataset[11].meta["shard"]) == ("raw", "test/000000.tar")


def test_single_labels(dataset: Dataset) -> None:
    assert [sample.label for sample in dataset] == [(None, "lung", "brain")[row % 3] for row in range(COUNT)]


def test_label_sets_are_chosen_by_name(own: Path) -> None:
    assert radload.open(own).classes == () and radload.open(own)[0].label is None
    keys, ranges = np.arange(6, dtype=np.uint64), {"train": range(2), "val": range(2, 4), "test": range(4, 6)}
    values = np.array([[1, 0], [np.nan, 1], [np.nan, np.nan], [0, 0], [1, 1], [0, np.nan]], np.float32)
    write_labels(own, LabelSet("findings", "multi", ("edema", "mass"), values, "csv"), keys, ranges)
    dataset = radload.open(own)  # the only set there is
    assert dataset.classes == ("edema", "mass")
    assert [sample.label for sample in dataset] == [
        {"edema": 1, "mass": 0}, {"mass": 1}, {}, {"edema": 0, "mass": 0}, {"edema": 1, "mass": 1}, {"edema": 0},
    ]  # fmt: skip
    write_labels(own, LabelSet("other", "single", ("a",), np.zeros(6, np.int32), "csv"), keys, ranges)
    assert radload.open(own).labels is None  # two, and none is the default
    assert radload.open(own, "other")[5].label == "a" and radload.open(own, labels="findings")[1].label == {"mass": 1}
    with pytest.raises(UsageError, match="no label set 'v9'"):
        radload.open(own, "v9")


def test_series_come_in_order(dataset: Dataset) -> None:
    found = [dataset.series(number) for number in range(len(SERIES))]
    assert [sample.row for samples in found for sample in samples] == list(range(COUNT))
    assert [len(samples) for samples in found] == [len(SERIES[number].images) for number in ORDER]
    for number, samples in enumerate(found):
        assert [sample.meta["position"] for sample in samples] == list(range(len(samples)))
        assert {sample.meta["series"] for sample in samples} == {number}
    for wrong in (-1, len(SERIES)):
        with pytest.raises(UsageError, match=f"no series {wrong}: the data set has 6"):
            dataset.series(wrong)


def test_a_flipped_byte_costs_one_sample(own: Path) -> None:
    path = own / "train/000000.tar"
    with radload.open(own) as dataset:
        place = int(dataset.index.records[1]["offset"]) + int(dataset.index.records[1]["length"]) // 2
        content = bytearray(path.read_bytes())
        content[place] ^= 4
        path.write_bytes(content)
        with pytest.raises(CorruptSample) as caught:
            _ = dataset[1].stored
        assert str(caught.value) == (
            "sample 000000000001 in shard train/000000.tar has a wrong checksum (CRC-32C): restore the shard from a copy"
        )
        for row in (0, 2, 3, 4, 5):
            assert dataset[row].stored.shape == (21, 34)


def test_a_cut_shard_costs_its_tail(own: Path) -> None:
    path = own / "val/000000.tar"
    with radload.open(own) as dataset:
        offset, length = (int(dataset.index.records[3][name]) for name in ("offset", "length"))
        path.write_bytes(path.read_bytes()[: offset + 10])
        with pytest.raises(
            CorruptSample, match=rf"^sample 000000000003 in shard val/000000\.tar is cut: 10 of {length} bytes; restore"
        ):
            dataset[3].modality()
        assert dataset[2].stored.shape == (21, 34)


@pytest.mark.parametrize("damage", ["missing", "folder"])
def test_a_shard_that_is_gone_is_named(own: Path, damage: str) -> None:
    path = own / "test/000000.tar"
    path.unlink()
    if damage == "folder":
        path.mkdir()
    dataset = radload.open(own)  # the index is whole
    with pytest.raises((FormatError, CorruptSample)) as caught:
        _ = dataset[5].stored
    sentence = str(caught.value)
    assert "shard test/000000.tar cannot be" in sentence and "copy" in sentence
    assert str(own) not in sentence and "Errno" not in sentence
    assert dataset[0].stored.shape == (21, 34)


def test_other_versions_and_damaged_indexes_are_refused(own: Path) -> None:
    content = json.loads((own / "manifest.json").read_text())
    (own / "manifest.json").write_text(json.dumps(content | {"version": 7}))
    with pytest.raises(FormatError, match="shard format version 7, this radload reads version 1: install"):
        radload.open(own)
    (own / "manifest.json").write_text(json.dumps(content))
    segment = own / "index/000000/segment.json"
    summary = json.loads(segment.read_text())
    for name in ("files", "ranges", "modalities", "next_key"):
        segment.write_text(json.dumps({key: value for key, value in summary.items() if key != name}))
        with pytest.raises(
            FormatError, match=rf"made by an older radload, .*segment.json has no '{name}'\): pack again$"
        ):
            radload.open(own)
    for text in ("", "[]", '{"files": 3}', json.dumps(summary | {"ranges": {"train": "x", "val": [], "test": []}})):
        segment.write_text(text)
        with pytest.raises(FormatError, match=r"segment\.json.*restore"):
            radload.open(own)
    segment.unlink()
    with pytest.raises(FormatError, match=r"\(segment\.json, No such file or directory\)"):
        radload.open(own)
    with pytest.raises(UsageError, match="no folder"):
        radload.open(own / "nowhere")
    with pytest.raises(UsageError, match="no manifest"):
        radload.open(own / "train")


def test_threads_read_more_shards_than_may_be_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_OPEN", 1)
    with radload.open(folder) as dataset:
        expected = [sample.stored.tobytes() for sample in dataset]
        rows = np.random.default_rng(3).integers(0, COUNT, 600).tolist()
        with ThreadPoolExecutor(6) as threads:
            for row, data in zip(rows, threads.map(lambda row: dataset[row].stored.tobytes(), rows), strict=True):
                assert data == expected[row]
        assert len(open_shards(folder)) == 1
    assert open_shards(folder) == []


@given(st.integers(-(2**70), 2**70))
def test_a_key_is_found_or_refused(folder: Path, key: int) -> None:
    index = radload.open(folder).index
    if 0 <= key < COUNT:
        assert index.row_of(key) == key
    else:
        with pytest.raises(KeyError):
            index.row_of(key)


def test_a_level_that_a_sample_does_not_have_is_refused(own: Path) -> None:
    with radload.open(own) as dataset:
        record = dataset.index.records[0]
        with pytest.raises(ValueError, match="has no level 6"):
            dataset.shards.read(record, 6)
        with pytest.raises(ValueError, match="has no level -1"):
            dataset.shards.read(record, -1)
