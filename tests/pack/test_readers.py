"""A shard is a plain WebDataset tar: `webdataset` and DALI's own reader give the samples, and any JPEG 2000 decoder the pixels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest_pack import WriteSeries
from segmentation_make import write_segmentation

import radload
from radload.codecs import decode_stored
from radload.dataset.schema import Codec
from radload.pack import PackOptions, pack


@pytest.fixture
def shards(tmp_path: Path, write_series: WriteSeries) -> Path:
    for number in range(3):
        write_series(tmp_path / "src" / str(number), patient=f"P{number}", series=f"s{number}")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", split="100/0/0", workers=0))
    return tmp_path / "out"


def test_webdataset_reads_the_shards_and_the_json_is_enough_to_decode(shards: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with radload.open(shards) as dataset:
        found = list(webdataset.WebDataset(str(shards / "train/000000.tar"), shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in found] == [sample.key for sample in dataset] and len(found) == 9
        for sample, mine in zip(found, dataset, strict=True):
            meta = json.loads(sample["json"])
            stored = decode_stored(
                sample["j2c"],
                Codec[meta["codec"].upper()],
                bias=meta["bias"],
                dtype=meta["dtype"],
                shape=(meta["rows"], meta["cols"]),
            )
            np.testing.assert_array_equal(stored, mine.stored)
            np.testing.assert_array_equal(
                (stored * meta["slope"] + meta["intercept"]).astype(np.float32), mine.modality()
            )
            assert (meta["modality"], meta["position"], meta["image_position"]) == (
                "CT",
                mine.meta["position"],
                mine.meta["image_position"],
            )
            assert meta["key"] == sample["__key__"]
        assert len({json.loads(sample["json"])["series"] for sample in found}) == 3


def test_dali_reads_and_decodes_the_shards(shards: Path, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def, types
    from wds2idx import IndexCreator  # type: ignore[import-untyped]

    tar, index = shards / "train/000000.tar", tmp_path / "000000.idx"
    with IndexCreator(str(tar), str(index)) as creator:
        creator.create_index()

    @pipeline_def(batch_size=9, num_threads=1, device_id=None)
    def pipeline():  # type: ignore[no-untyped-def]
        image, meta = fn.readers.webdataset(  # type: ignore[misc]
            paths=[str(tar)], index_paths=[str(index)], ext=["j2c", "json"], missing_component_behavior="error"
        )
        return fn.decoders.image(image, device="cpu", output_type=types.ANY_DATA, dtype=types.UINT16), meta

    images, metas = pipeline().run()
    with radload.open(shards) as dataset:
        for i, sample in enumerate(dataset):
            meta = json.loads(bytes(np.asarray(metas.at(i))))
            coded = np.asarray(images.at(i))[..., 0].astype(np.int64)
            assert meta["key"] == sample.key
            np.testing.assert_array_equal(coded - meta["bias"], sample.stored)


@pytest.fixture
def masked(tmp_path: Path, write_series: WriteSeries) -> Path:
    """Two series of three slices, one of them with a segmentation of its first slice."""
    for number in range(2):
        write_series(tmp_path / "src" / str(number), patient=f"P{number}", series=f"s{number}")
    labels = np.arange(24 * 20).reshape(24, 20) % 2
    write_segmentation(tmp_path / "src/seg.dcm", [(tmp_path / "src/1/000.dcm", 7, labels.astype(np.uint8))])
    pack(PackOptions(tmp_path / "src", tmp_path / "out", split="100/0/0", workers=0))
    return tmp_path / "out"


def test_webdataset_reads_shards_with_masks(masked: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    found = list(webdataset.WebDataset(str(masked / "train/000000.tar"), shardshuffle=False, empty_check=False))
    with radload.open(masked) as dataset:
        assert [sample["__key__"] for sample in found] == [sample.key for sample in dataset]
        for sample, mine in zip(found, dataset, strict=True):
            assert ("mask.npy" in sample) == (mine.mask is not None) and {"j2c", "json"} <= set(sample)
            if mine.mask is not None:
                np.testing.assert_array_equal(np.load(io.BytesIO(sample["mask.npy"])), mine.mask)
        assert sum("mask.npy" in sample for sample in found) == 3


def test_dali_reads_shards_with_masks(masked: Path, tmp_path: Path) -> None:
    """Images are found as before; where a sample has no mask, DALI gives an empty one."""
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def
    from wds2idx import IndexCreator

    tar, index = masked / "train/000000.tar", tmp_path / "000000.idx"
    with IndexCreator(str(tar), str(index)) as creator:
        creator.create_index()

    @pipeline_def(batch_size=6, num_threads=1, device_id=None)
    def pipeline():  # type: ignore[no-untyped-def]
        meta, mask = fn.readers.webdataset(  # type: ignore[misc]
            paths=[str(tar)], index_paths=[str(index)], ext=["json", "mask.npy"], missing_component_behavior="empty"
        )
        return meta, mask

    metas, masks = pipeline().run()
    with radload.open(masked) as dataset:
        for i, sample in enumerate(dataset):
            assert json.loads(bytes(np.asarray(metas.at(i))))["key"] == sample.key
            data = bytes(np.asarray(masks.at(i)))
            assert bool(data) == (sample.mask is not None)
            if sample.mask is not None:
                np.testing.assert_array_equal(np.load(io.BytesIO(data)), sample.mask)
