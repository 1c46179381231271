"""`radload pack --append`: what is new becomes the next version; shards, keys and splits that are there stay as they are."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries, shards_of, write_png

import radload
from radload.audit.proof import audit
from radload.errors import UsageError
from radload.pack import PackOptions, append, pack


@pytest.fixture
def options(clinic: Path, tmp_path: Path) -> PackOptions:
    return PackOptions(clinic, tmp_path / "out", split="60/20/20", shard_size=0.002, workers=0, attest_no_phi=True)


def content(out: Path, version: int | None = None) -> dict[str, tuple[bytes, str, str | None, str]]:
    """Key -> pixels, split, label and patient's pseudonym."""
    with radload.open(out, version=version) as ds:
        names = ds.index.table("patients").column("pseudonym").to_pylist()
        return {s.key: (s.stored.tobytes(), s.split, s.label, names[s.meta["patient"]]) for s in ds}  # type: ignore[misc]


def add_patients(clinic: Path, write_series: WriteSeries, numbers: range = range(6, 14)) -> None:
    for number in numbers:
        write_series(clinic / f"Doe_{number}" / "a", patient=f"P{number}", study=f"st{number}", series=f"s{number}a")


def test_new_files_become_the_next_version(options: PackOptions, write_series: WriteSeries) -> None:
    pack(options)
    before, bytes_before = content(options.out), shards_of(options.out)
    add_patients(options.source, write_series)
    write_series(options.source / "Doe_0/c", patient="P0", study="st0", series="s0c")  # a patient who is known
    write_series(
        options.source / "Doe_1/a2", 5, patient="P1", study="st1", series="s1a"
    )  # more of a series that is packed
    summary = append(options)
    assert summary.fresh and summary.packed == 8 * 3 + 3 + 4 and not summary.rejected, (
        "one of the five is an instance that is packed"
    )
    after = content(options.out)
    assert len(after) == 24 + 31 and {key: after[key] for key in before} == before, "what was there is what it was"
    assert {name: digest for name, digest in shards_of(options.out).items() if name in bytes_before} == bytes_before
    assert min(map(int, after.keys() - before.keys())) > max(map(int, before)), "keys go on"
    assert content(options.out, 0) == before and content(options.out, 1) == after
    split_of: dict[str, set[str]] = {}
    for _, split, _, patient in after.values():
        split_of.setdefault(patient, set()).add(split)
    assert len(split_of) == 14 and all(len(splits) == 1 for splits in split_of.values())
    assert audit(options.out).proven
    with radload.open(options.out) as ds:
        assert ds.manifest.generation == 1 and ds.manifest.patients == 14 and ds.manifest.samples == len(ds)
        assert set(ds.index.table("shards").column("generation").to_pylist()) == {0, 1}
        for span in ds.index.ranges.values():
            assert (np.diff(ds.index.records["key"][span.start : span.stop].astype(np.int64)) > 0).all()
        for key in after:
            assert ds[key].key == key
    crosswalk = pq.read_table(options.out.with_name("out.private") / "crosswalk.parquet")
    assert sorted(crosswalk.column("key").to_pylist()) == sorted(after)


def test_what_is_packed_is_not_packed_again(options: PackOptions) -> None:
    pack(options)
    before = shards_of(options.out)
    shutil.copytree(options.source / "Doe_0", options.source / "copy")  # the same instances under other names
    summary = append(options)
    assert not summary.fresh and summary.packed == 0 and "nothing is new" in summary.notes[0]
    assert shards_of(options.out) == before and radload.open(options.out).manifest.generation == 0
    assert not pack(options).fresh, "the plan knows the files now"


def test_files_without_an_instance_are_told_by_their_pixels(options: PackOptions, write_dicom: WriteDicom) -> None:
    random = np.random.default_rng(0)
    volume = random.normal(size=(9, 8, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), options.source / "sub-01.nii")  # type: ignore[no-untyped-call]
    picture = random.integers(0, 256, (16, 18), dtype=np.uint8)
    write_png(options.source / "sub-02/a.png", picture)
    pack(options)
    shutil.copy(options.source / "sub-02/a.png", options.source / "sub-02/b.png")  # nothing new
    write_png(options.source / "sub-02/c.png", picture + 1)
    nibabel.save(nibabel.Nifti1Image(volume + 1, np.eye(4)), options.source / "sub-01.nii")  # type: ignore[no-untyped-call]
    summary = append(options)
    assert summary.packed == 2 and len(content(options.out)) == 24 + 3 + 2 + 1


def test_another_folder_may_hold_the_new_files(options: PackOptions, tmp_path: Path, write_series: WriteSeries) -> None:
    pack(options)
    write_series(tmp_path / "later/x", patient="P3", study="st3", series="later")
    assert append(replace(options, source=tmp_path / "later")).packed == 3
    with radload.open(options.out) as ds:
        assert len(ds) == 27 and audit(options.out).proven


def test_labels_are_extended(options: PackOptions, write_series: WriteSeries, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("patient,label\n" + "".join(f"P{n},{'ab'[n % 2]}\n" for n in range(6)))
    options = replace(options, labels=table)
    pack(options)
    before = content(options.out)
    add_patients(options.source, write_series, range(6, 9))
    table.write_text(table.read_text().replace("P0,a", "P0,b") + "P6,A new one\nP7,a\n")
    append(options)
    after = content(options.out)
    assert {key: after[key] for key in before} == before, (
        "labels that are there stay, too: `radload label` changes them"
    )
    assert (
        sorted(str(after[key][2]) for key in after.keys() - before.keys())
        == ["A new one"] * 3 + ["None"] * 3 + ["a"] * 3
    )
    with radload.open(options.out) as ds:
        assert ds.classes == ("a", "b", "A new one"), "codes in use stay what they are"
    with radload.Loader(options.out, "train", batch_size=2, size=16, sampler="balanced", threads=1) as loader:
        assert len(list(loader)) == len(loader)


def test_a_series_is_thinned_once(clinic: Path, tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(clinic / "long", 9, patient="P5", study="st5", series="long")
    options = PackOptions(clinic, tmp_path / "out", workers=0, slices="every:2")
    pack(options)
    samples = len(content(options.out))
    assert not append(options).fresh
    write_series(clinic / "new", 4, patient="P9", study="st9", series="new")
    append(options)
    assert len(content(options.out)) == samples + 2


@pytest.mark.parametrize(
    ("change", "words"),
    [({"codec": "raw"}, "--codec"), ({"drop_empty": True}, "--drop-empty"), ({"split_seed": 1}, "--split-seed")],
)
def test_other_options_are_refused(options: PackOptions, change: dict[str, Any], words: str) -> None:
    pack(options)
    with pytest.raises(UsageError, match=words):
        append(replace(options, **change))


def test_there_must_be_a_data_set(options: PackOptions) -> None:
    with pytest.raises(UsageError, match="adds to a data set"):
        append(options)
    assert not options.out.exists()


def test_a_patient_keeps_his_split(options: PackOptions, tmp_path: Path, write_series: WriteSeries) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("patient,split\n" + "".join(f"P{n},{['train', 'val', 'test'][n % 3]}\n" for n in range(6)))
    options = replace(options, splits=table)
    pack(options)
    write_series(options.source / "more", patient="P0", study="st0", series="more")
    table.write_text(table.read_text().replace("P0,train", "P0,test"))
    with pytest.raises(UsageError, match="a patient keeps his split"):
        append(options)
    table.write_text("patient,split\nP0,train\nP1,val\n")  # the others are not named, and keep theirs
    write_series(options.source / "P2", patient="P2", study="st2", series="P2")
    append(options)
    with radload.open(options.out) as ds:
        assert ds.manifest.splits["train"]["patients"] == 2 and audit(options.out).proven


def test_an_image_of_a_packed_patient_draws_the_new_one_into_his_split(
    options: PackOptions, write_dicom: WriteDicom
) -> None:
    options = replace(options, link_duplicates=True)
    random = np.random.default_rng(3)
    pictures = [random.integers(-900, 900, (24, 20)).astype(np.int16) for _ in range(6)]
    for number, pixels in enumerate(pictures):
        write_dicom(
            options.source / f"shared/{number}.dcm",
            pixels,
            patient=f"P{number}",
            study=f"st{number}",
            series=f"x{number}",
        )
    pack(options)
    for number, pixels in enumerate(pictures):  # the same images under new numbers
        write_dicom(
            options.source / f"again/{number}.dcm",
            pixels,
            patient=f"Q{number}",
            study=f"q{number}",
            series=f"y{number}",
        )
    append(options)
    splits: dict[bytes, set[str]] = {}
    for pixels_of, split, _, _ in content(options.out).values():
        splits.setdefault(pixels_of, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
