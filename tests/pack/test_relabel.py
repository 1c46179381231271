"""`radload label`: another label set beside the shards, by key, by identity, by folder; the shards do not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest_pack import shards_of

import radload
from radload.pack import PackOptions, pack
from radload.pack.relabel import LabelOptions, add_labels


@pytest.fixture
def shards(clinic: Path, tmp_path: Path) -> Path:
    pack(PackOptions(clinic, tmp_path / "out", workers=0))
    return tmp_path / "out"


def csv(tmp_path: Path, text: str) -> Path:
    (tmp_path / "new.csv").write_text(text)
    return tmp_path / "new.csv"


def test_a_csv_about_patients_uses_the_crosswalk(shards: Path, tmp_path: Path) -> None:
    before = shards_of(shards)
    written = add_labels(LabelOptions(shards, csv(tmp_path, "patient,label\nP0,ill\nP1,well\n"), name="v2"))
    assert written.classes == ("ill", "well") and int((written.codes >= 0).sum()) == 12
    with radload.open(shards, "v2") as dataset:
        assert {sample.label for sample in dataset} == {"ill", "well", None}
        patients = dataset.index.series["patient"]
        assert (
            len({int(patients[int(dataset.index.records["series"][s.row])]) for s in dataset if s.label == "ill"}) == 1
        )
    assert shards_of(shards) == before


def test_a_csv_about_keys_and_the_modality_need_no_private_folder(shards: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    keys = csv(tmp_path, "key,a,b\n000000000003,1,-1\n4,0,\n")
    add_labels(LabelOptions(shards, keys, name="keys", private=nowhere, uncertain="one"))
    with radload.open(shards, "keys") as dataset:
        assert [dataset[key].label for key in ("000000000003", "000000000004", "000000000005")] == [
            {"a": 1, "b": 1},
            {"a": 0},
            {},
        ]
    add_labels(LabelOptions(shards, labels_from="modality", name="modality", private=nowhere))
    with radload.open(shards, "modality") as dataset:
        assert [sample.label for sample in dataset] == ["CT"] * 24
    with pytest.raises(radload.UsageError, match="--private"):
        add_labels(LabelOptions(shards, labels_from="folder:1", name="folders", private=nowhere))


def test_folders_come_from_the_crosswalk(shards: Path) -> None:
    assert add_labels(LabelOptions(shards, labels_from="folder:1")).classes == tuple(
        f"Doe_{number}" for number in range(6)
    )


def test_what_cannot_be_done_is_said(shards: Path, tmp_path: Path, clinic: Path) -> None:
    options = LabelOptions(shards, csv(tmp_path, "patient,label\nP0,ill\n"), name="v2")
    add_labels(options)
    with pytest.raises(radload.UsageError, match="already"):
        add_labels(options)
    add_labels(replace(options, replace=True))
    with pytest.raises(radload.UsageError, match="matches none of the 24 images"):
        add_labels(replace(options, name="v3", labels=csv(tmp_path, "patient,label\nP99,ill\n")))
    for wrong in (
        {"labels": None},
        {"labels_from": "modality"},
        {"name": "../v"},
        {"shards": clinic},
        {"uncertain": "x"},
        {"private": tmp_path},
    ):
        with pytest.raises(radload.UsageError):
            add_labels(replace(options, **{"name": "v4", **wrong}))  # type: ignore[arg-type]
    pack(PackOptions(clinic / "Doe_3", tmp_path / "other", workers=0))
    with pytest.raises(radload.UsageError, match="does not belong to these shards"):
        add_labels(replace(options, name="v5", private=tmp_path / "other.private"))
