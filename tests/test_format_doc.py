"""docs/format.md is enough to read a data set: its own reader is run against `radload.open`, and its tables against the code."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset

sys.path.insert(0, str(Path(__file__).parent / "pack"))

from conftest_pack import WriteDicom, write_dicom, write_png

import radload
from radload.codecs import htj2k
from radload.dataset import schema
from radload.dataset.manifest import Manifest
from radload.dataset.schema import Codec, Flag
from radload.pack import PackOptions, pack
from radload.sources import Units, VoiFunction

__all__ = ["write_dicom"]

PAGE = (Path(__file__).parents[1] / "docs/format.md").read_text()
TABLES = {
    "samples": schema.SAMPLES,
    "series": schema.SERIES,
    "studies": schema.STUDIES,
    "patients": schema.PATIENTS,
    "luts": schema.LUTS,
    "shards": schema.SHARDS,
}


def section(title: str) -> str:
    """What stands between a heading and the next."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert match, title
    return match[1]


def rows(text: str) -> list[list[str]]:
    """Cells of the tables in `text`."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def names(text: str) -> list[str]:
    """Names in back quotes."""
    return re.findall(r"`(\w+)`", text)


def sentence(start: str, end: str) -> list[str]:
    """Names between two texts of the page."""
    assert PAGE.count(start) == 1, start
    return names(PAGE.partition(start)[2].partition(end)[0])


@pytest.fixture
def shards(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """Signed, unsigned, floating, wide, coloured, of odd sizes, with padding, slopes and tables, in several shards and splits."""
    source, random = tmp_path / "src", np.random.default_rng(0)
    for place in range(3):
        write_dicom(source / f"ct/{place}.dcm", patient="P0", series="s0", place=place, PixelPaddingValue=-900)
    smooth = np.cumsum(random.integers(-3, 4, (37, 53)), axis=1)
    write_dicom(source / "mr.dcm", (smooth + 900).astype(np.uint16), patient="P1", series="s1", RescaleSlope=0.37)
    write_dicom(
        source / "full.dcm", random.integers(0, 65536, (20, 24), dtype=np.uint16), patient="P2", series="s2",
        WindowCenter=[40, 50], WindowWidth=[400, 1500],
    )  # fmt: skip
    write_dicom(
        source / "us.dcm", random.integers(0, 256, (33, 30, 3), dtype=np.uint8), patient="P3", series="s3",
        RescaleSlope=None, RescaleIntercept=None, Modality="US", BurnedInAnnotation="NO",
    )  # fmt: skip
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [30, 10, 16])
    table.add_new("LUTData", "US", [1000 + 3 * i * i for i in range(30)])
    table.ModalityLUTType = "US"
    write_dicom(
        source / "lut.dcm", random.integers(0, 60, (16, 18), dtype=np.uint8), patient="P4", series="s4",
        RescaleSlope=None, RescaleIntercept=None, ModalityLUTSequence=[table],
    )  # fmt: skip
    volume = random.normal(size=(9, 8, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 2, 3, 1])), source / "sub-01.nii")  # type: ignore[no-untyped-call]
    wide = random.integers(-(2**30), 2**30, (9, 8, 1)).astype(np.int32)
    nibabel.save(nibabel.Nifti1Image(wide, np.eye(4)), source / "sub-02.nii")  # type: ignore[no-untyped-call]
    labels = random.integers(0, 900, volume.shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([1.0, 2, 3, 1])), source / "sub-01_seg.nii")  # type: ignore[no-untyped-call]
    write_png(source / "sub-03/a.png", random.integers(0, 256, (1, 5), dtype=np.uint8))
    (source / "broken.dcm").write_bytes(bytes(128) + b"DICM" + bytes(20))
    options = PackOptions(
        source,
        tmp_path / "out",
        split="60/20/20",
        shard_size=0.001,
        labels_from="modality",
        workers=0,
        masks=("*_seg.nii",),
        attest_no_phi=True,
    )
    pack(options)
    return tmp_path / "out"


@pytest.fixture(scope="module")
def reader() -> dict[str, Any]:
    """The names that the page's Python blocks define."""
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) == 2
    assert len(blocks[0].splitlines()) <= 40
    for block in blocks:
        assert "radload import" not in block and "import radload" not in block
        exec(compile(block, "docs/format.md", "exec"), names)
    return names


def test_the_pages_reader_gives_what_radload_gives(reader: dict[str, Any], shards: Path) -> None:
    with radload.open(shards) as dataset:
        found = list(reader["samples"](shards))
        assert [key for key, _, _ in found] == [sample.key for sample in dataset]
        for (_, stored, modality), sample in zip(found, dataset, strict=True):
            assert stored.dtype == sample.stored.dtype
            np.testing.assert_array_equal(stored, sample.stored)
            np.testing.assert_array_equal(modality.astype(np.float32), sample.modality())
        metas = [sample.meta for sample in dataset]
        assert {meta["dtype"] for meta in metas} == {"int16", "uint16", "uint8", "float32", "int32"}
        assert {meta["codec"] for meta in metas} == {"htj2k", "raw"} and {meta["channels"] for meta in metas} == {1, 3}
        assert sum(meta["modality_lut"] is not None for meta in metas) == 1
        assert len({meta["shard"] for meta in metas}) > 3 and all(dataset.splits.values())


def test_the_pages_levels_are_those_of_the_codec(reader: dict[str, Any], shards: Path) -> None:
    with radload.open(shards) as dataset:
        tried = 0
        for sample, record in zip(dataset, dataset.index.records, strict=True):
            for level in range(1, int(record["safe_levels"]) + 1):
                mine = htj2k.decode(dataset.shards.read(record, level), level).astype(np.int64) - int(record["bias"])
                page = reader["read_level"](shards / sample.meta["shard"], record, level)
                np.testing.assert_array_equal(page, mine)
                tried += 1
        assert tried >= 15


def test_members_are_as_the_page_says(shards: Path) -> None:
    fields = set(sentence("**`KEY.json`**", "**`KEY.mask.npy`**")) - {"first", "values", "bits"}
    with radload.open(shards) as dataset:
        expected = [(sample.key, sample.mask is not None) for sample in dataset]
    found: list[tuple[str, bool]] = []
    for path in (path for split in schema.SPLITS for path in sorted((shards / split).glob("*.tar"))):
        with tarfile.open(path) as tar:
            members = iter(tar.getnames())
            for name in members:
                key, _, suffix = name.partition(".")
                if suffix == "mask.npy":
                    assert found[-1] == (key, False)
                    found[-1] = (key, True)
                    continue
                assert re.fullmatch(r"\d{12}", key) and suffix in ("j2c", "npy") and next(members) == f"{key}.json"
                reader = tar.extractfile(f"{key}.json")
                assert reader is not None and set(json.load(reader)) == fields
                found.append((key, False))
    assert found == sorted(found) == expected and sum(masked for _, masked in found) == 2


def test_masks_are_where_the_page_says(shards: Path) -> None:
    table = [row for row in rows(section("masks.bin")) if row[0].isdigit()]
    layout = np.dtype({"names": [row[1] for row in table], "formats": [f"<{row[2]}" for row in table]})
    records = np.fromfile(shards / "index/000000/masks.bin", layout)
    with radload.open(shards) as dataset:
        for sample, record in zip(dataset, records, strict=True):
            if not record["length"]:
                assert sample.mask is None
                continue
            data = (shards / sample.meta["shard"]).read_bytes()[record["offset"] :][: record["length"]]
            assert google_crc32c.value(data) == record["crc"]
            labels = np.load(io.BytesIO(data))
            assert labels.dtype == np.uint16 and labels.shape == sample.shape
            np.testing.assert_array_equal(labels, sample.mask)
        assert np.count_nonzero(records["length"]) == 2


@pytest.mark.parametrize(
    ("name", "title"), [("RECORD", "records.bin"), ("MASK_RECORD", "masks.bin"), ("SERIES_RECORD", "series.bin")]
)
def test_every_record_field_stands_in_the_page(name: str, title: str) -> None:
    dtype: np.dtype[np.void] = getattr(schema, name)
    expected = []
    for field, (kind, offset, *_) in (dtype.fields or {}).items():
        count = f"{kind.shape[0]} x " if kind.shape else ""
        expected.append([str(offset), field, f"{count}{kind.base.kind}{kind.base.itemsize}"])
    assert [row[:3] for row in rows(section(title)) if len(row) == 4 and row[0].isdigit()] == expected


def test_the_readers_record_is_the_schemas(reader: dict[str, Any]) -> None:
    assert reader["RECORD"] == schema.RECORD
    assert tuple(reader["TYPES"]) == schema.STORED_DTYPES


@pytest.mark.parametrize("name", TABLES)
def test_every_arrow_column_stands_in_the_page(name: str) -> None:
    (columns,) = [row[1] for row in rows(section("Arrow tables")) if row[0].startswith(f"{name},")]
    assert names(columns) == TABLES[name].names


def test_every_enumeration_stands_in_the_page() -> None:
    flags = [(int(row[0]), row[1]) for row in rows(section("records.bin")) if row[0].isdigit() and len(row) == 3]
    assert flags == [(int(flag), flag.name) for flag in Flag]
    meaning = {
        row[1]: row[3] for title in ("records.bin", "series.bin") for row in rows(section(title)) if len(row) == 4
    }
    codes = {
        field: [int(code) for code in re.findall(r"(?<![.\d])(\d+) [A-Za-z]", meaning[field])] for field in meaning
    }
    assert codes["codec"] == sorted(Codec) and codes["voi"] == list(VoiFunction) and codes["units"] == list(Units)
    for i, split in enumerate(schema.SPLITS):
        assert f"{i} {split}" in meaning["split"]
    for i, dtype in enumerate(schema.STORED_DTYPES):
        assert f"{i} {dtype}" in meaning["dtype"]


def test_json_files_have_the_fields_of_the_page(shards: Path) -> None:
    segment = sentence("\nsegment.json: ", "A reader compares")
    assert sorted(json.loads((shards / "index/000000/segment.json").read_bytes())) == sorted(segment)
    nested = {"packed", "rejected", "ignored"}
    manifest = set(sentence("\nmanifest.json: ", "##")) - nested
    content = json.loads((shards / "manifest.json").read_bytes())
    assert set(content) == manifest == {field.name for field in dataclasses.fields(Manifest)}
    assert set(content["source"]) == nested
    info = json.loads(pa.ipc.open_file(str(shards / "labels/default.arrow")).schema.metadata[b"radload"])
    assert set(info) <= set(names(section("Label sets")))


def test_the_folders_hold_what_the_page_lists(shards: Path) -> None:
    layout = PAGE.partition("## Shards")[0]
    for path in shards.rglob("*"):
        if path.is_file() and path.suffix != ".tar":
            name = path.name.replace("default", "NAME")
            assert re.search(rf"(?:^|[ /]){re.escape(name)}", layout, re.M), name


def test_the_private_folder_is_as_the_page_says(shards: Path) -> None:
    private = shards.with_name("out.private")
    described: dict[str, Callable[[Path], list[str]]] = {
        "plan.json": lambda path: list(json.loads(path.read_bytes())),
        "crosswalk.parquet": lambda path: pq.read_schema(path).names,
        "rejects.parquet": lambda path: pq.read_schema(path).names,
        "splits.parquet": lambda path: pq.read_schema(path).names,
    }
    assert {path.name for path in private.iterdir()} == {"key", "catalog.parquet", *described}
    lines = {row[0]: row[1] for row in rows(section("The private folder"))}
    assert re.fullmatch(r"[0-9a-f]{64}\n", (private / "key").read_text())
    for name, columns in described.items():
        assert columns(private / name) == names(lines[name]), name
    assert pq.read_table(private / "rejects.parquet").num_rows == 1
    assert "(catalog.md)" in PAGE and lines["catalog.parquet"]  # its columns: tests/test_catalog_doc.py
