"""`radload export`: the chosen samples, bit for bit, and nothing that leads from them to the data set or to a person."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from conftest_pack import WriteSeries, write_png

import radload
from radload.audit.proof import audit
from radload.errors import UsageError
from radload.export import ExportOptions, export
from radload.export.copy import GEOMETRY_OF_SAMPLES, GEOMETRY_OF_SERIES
from radload.pack import PackOptions, pack
from radload.versions import forget


@pytest.fixture
def shards(clinic: Path, tmp_path: Path) -> Path:
    """CT, pictures, a float volume with a mask; labels by modality."""
    random = np.random.default_rng(0)
    write_png(clinic / "sub-7/a.png", random.integers(0, 256, (16, 18), dtype=np.uint8))
    volume = random.normal(size=(9, 8, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), clinic / "sub-8.nii")  # type: ignore[no-untyped-call]
    labels = random.integers(0, 3, volume.shape).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), clinic / "sub-8_seg.nii")  # type: ignore[no-untyped-call]
    out = tmp_path / "out"
    options = PackOptions(
        clinic, out, split="50/25/25", shard_size=0.003, workers=0, labels_from="modality", masks=("*_seg.nii",), attest_no_phi=True
    )  # fmt: skip
    pack(options)
    return out


def content(root: Path) -> dict[bytes, tuple[bytes, str, Any, bytes | None]]:
    """Pixel hash -> pixels, split, label, mask."""
    with radload.open(root) as ds:
        return {
            s.meta["pixel_hash"]: (s.stored.tobytes(), s.split, s.label, None if s.mask is None else s.mask.tobytes())
            for s in ds
        }


def test_chosen_samples_come_bit_for_bit(shards: Path, tmp_path: Path) -> None:
    before = content(shards)
    done = export(ExportOptions(shards, tmp_path / "all"))
    assert content(tmp_path / "all") == before and done.samples == len(before) == 27
    done = export(ExportOptions(shards, tmp_path / "ct", where="modality = 'CT' and rows = 24 and split <> 'test'"))
    chosen = {name: row for name, row in before.items() if row[2] == "CT" and row[1] != "test"}
    assert content(tmp_path / "ct") == chosen and 0 < done.samples == len(chosen) < 24
    with radload.open(tmp_path / "ct") as ds:
        assert ds.manifest.samples == len(ds) and ds.manifest.patients == done.patients
        assert "test" not in {s.split for s in ds}
        assert [int(s.key) for s in ds] == list(range(len(ds)))
    assert not (tmp_path / "ct.private").exists()


def test_the_audit_holds_and_the_loader_loads(shards: Path, tmp_path: Path) -> None:
    export(ExportOptions(shards, tmp_path / "to", new_pseudonyms=True, drop_geometry=True))
    found = audit(tmp_path / "to")
    assert found.proven, found.verdict
    with radload.Loader(tmp_path / "to", batch_size=2, size=16, threads=1) as loader:
        assert all(bool(np.isfinite(batch["image"].numpy()).all()) for batch in loader)


def test_every_member_is_what_the_index_says(shards: Path, tmp_path: Path) -> None:
    export(ExportOptions(shards, tmp_path / "to", drop_geometry=True, new_pseudonyms=True))
    with radload.open(tmp_path / "to") as ds:
        recorded = {row["name"]: row["sha256"] for row in ds.index.table("shards").to_pylist()}
        for name, digest in recorded.items():
            data = (tmp_path / "to" / name).read_bytes()
            assert hashlib.sha256(data).digest() == digest
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = {m.name: m for m in tar}
            for key in {member.partition(".")[0] for member in members}:
                sample = ds[key]
                start = members[f"{key}.json"].offset_data
                said = json.loads(data[start : start + members[f"{key}.json"].size])
                assert said["key"] == key and said["patient"] == sample.meta["patient"]
                assert said["study"] == sample.meta["study"] and said["position"] == sample.meta["position"]
                assert said["image_position"] is None and said["image_orientation"] is None
                assert said["series"] == ds[int(ds.index.series[sample.meta["series"]]["first_row"])].key
                assert (f"{key}.mask.npy" in members) == (sample.mask is not None)
                assert all(sample.meta[column] is None for column in (*GEOMETRY_OF_SAMPLES, *GEOMETRY_OF_SERIES))


def pseudonyms(root: Path) -> set[str]:
    with radload.open(root) as ds:
        tables = (ds.index.table(name).column("pseudonym").to_pylist() for name in ("patients", "studies", "series"))
        return {name for names in tables for name in names}


def test_new_pseudonyms_lead_nowhere(shards: Path, tmp_path: Path) -> None:
    for name, new in (("same", False), ("one", True), ("two", True)):
        export(ExportOptions(shards, tmp_path / name, new_pseudonyms=new))
    ours, same, one, two = (
        pseudonyms(root) for root in (shards, *(tmp_path / name for name in ("same", "one", "two")))
    )
    assert same == ours and not (one & ours or two & ours or one & two) and len(one) == len(ours)
    manifests = [radload.open(root).manifest for root in (shards, tmp_path / "one", tmp_path / "two")]
    assert len({m.key_id for m in manifests}) == len({m.fingerprint for m in manifests}) == 3
    every = b"".join(path.read_bytes() for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert not any(name.encode() in every for name in ours)
    assert manifests[0].key_id.encode() not in every and b"Doe_" not in every


def test_who_withdraws_is_found_in_exports(shards: Path, tmp_path: Path) -> None:
    export(ExportOptions(shards, tmp_path / "to", where="split = 'train'", new_pseudonyms=True))
    with radload.open(shards) as ds:
        of = {split: ds[ds.index.ranges[split].start].meta["patient"] for split in ("train", "test")}
        names = {split: ds.index.table("patients").column("pseudonym")[row].as_py() for split, row in of.items()}
    (tmp_path / "list").write_text(names["test"])
    assert forget(shards, tmp_path / "list").exports == ()
    (tmp_path / "list").write_text(names["train"])
    assert forget(shards, tmp_path / "list").exports == (str(tmp_path / "to"),)
    done = export(ExportOptions(shards, tmp_path / "later"))
    with radload.open(shards) as ds:
        assert done.samples == len(ds) and done.patients == ds.manifest.patients
    with pytest.raises(UsageError, match="withdrew"):
        export(ExportOptions(shards, tmp_path / "old", version=0))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("modality = 'US'", "true for none"), ("nothing = 1", "cannot be understood"), ("rows", "no condition"),
        ("rows > (select 1)", "subquery"), ("random() < 0.5", "not the same at every run"),
        ("pixel_hash is not null", "cannot be understood"),
    ],
)  # fmt: skip
def test_conditions_that_cannot_be_used(shards: Path, tmp_path: Path, where: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        export(ExportOptions(shards, tmp_path / "to", where=where))
    assert not (tmp_path / "to").exists() and not list(tmp_path.glob(".to*"))


def test_nothing_is_written_over(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to/x").write_text("x")
    for to in (tmp_path / "to", shards, shards / "inside", shards.with_name("out.private") / "inside"):
        with pytest.raises(UsageError):
            export(ExportOptions(shards, to))
    (tmp_path / "to/x").unlink()
    assert export(ExportOptions(shards, tmp_path / "to")).samples == 27


def test_a_damaged_shard_ends_it(shards: Path, tmp_path: Path) -> None:
    name = radload.open(shards).index.shard_names[0]
    data = bytearray((shards / name).read_bytes())
    data[700] ^= 1
    (shards / name).write_bytes(data)
    with pytest.raises(radload.CorruptSample):
        export(ExportOptions(shards, tmp_path / "to"))
    assert not (tmp_path / "to").exists() and not list(tmp_path.glob(".to*"))
    assert not (shards.with_name("out.private") / "exports.json").exists()


def test_a_part_of_a_series_says_so(shards: Path, tmp_path: Path, write_series: WriteSeries) -> None:
    export(ExportOptions(shards, tmp_path / "to", where="modality = 'CT' and position > 0"))
    with radload.open(tmp_path / "to") as ds:
        assert len(ds) == 16 and not ds.manifest.encoding["whole_series"]
        assert [s.meta["position"] for s in ds] == [1, 2] * 8, "the hole is seen"


def test_a_private_folder_elsewhere_is_no_place_for_an_export(shards: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "kept"
    shards.with_name("out.private").rename(elsewhere)
    with pytest.raises(UsageError, match="inside the data set or its private folder"):
        export(ExportOptions(shards, elsewhere / "to", private=elsewhere))
    assert not (elsewhere / "to").exists()
