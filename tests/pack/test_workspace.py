"""Bad input ends with one clear sentence, and nothing is left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest_pack import WriteDicom

import radload
from radload.pack import PackOptions, pack


@pytest.fixture
def options(clinic: Path, tmp_path: Path) -> PackOptions:
    return PackOptions(clinic, tmp_path / "deep" / "out", workers=0)


def tree(root: Path) -> list[tuple[str, int]]:
    """Everything below `root`: name, size."""
    return sorted(
        (path.relative_to(root).as_posix(), path.lstat().st_size if path.is_file() else -1) for path in root.rglob("*")
    )


def folder(path: Path, *files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path / name).write_text("x")
    return path


CASES: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "no such folder": (lambda tmp: {"source": tmp / "none"}, "there is no folder"),
    "a file as source": (lambda tmp: {"source": tmp / "clinic/readme.txt"}, "is a file"),
    "empty folder": (lambda tmp: {"source": folder(tmp / "empty")}, "is an empty folder"),
    "folder without images": (
        lambda tmp: {"source": folder(tmp / "texts", "a.txt", "b.txt")},
        r"holds no image \(2 other files\)",
    ),
    "only damaged images": (lambda tmp: {"source": damaged(tmp)}, r"no image that can be packed \(1 files rejected: "),
    "out with other things": (lambda tmp: {"out": folder(tmp / "full", "thesis.doc")}, "exists and holds other things"),
    "out is a file": (lambda tmp: {"out": tmp / "clinic/../file"}, "is a file"),
    "out below a file": (lambda tmp: {"out": tmp / "file" / "out"}, "cannot be written"),
    "out where nobody may write": (
        lambda tmp: {"out": Path("/proc/radload/out"), "private": tmp / "p"},
        "cannot be written",
    ),
    "private where nobody may write": (lambda tmp: {"private": Path("/proc/radload")}, "cannot be written"),
    "private with other things": (
        lambda tmp: {"private": folder(tmp / "full", "thesis.doc")},
        "exists and holds other things",
    ),
    "private of other shards": (
        lambda tmp: {"private": folder(tmp / "full", "crosswalk.parquet")},
        "belongs to other shards",
    ),
    "private is no key": (lambda tmp: {"private": folder(tmp / "full", "key")}, "is no pseudonym key"),
    "out inside source": (lambda tmp: {"out": tmp / "clinic/out"}, "lies inside --src"),
    "out is source": (lambda tmp: {"out": tmp / "clinic"}, "lies inside --src"),
    "private inside source": (lambda tmp: {"private": tmp / "clinic/p"}, "lies inside --src"),
    "private inside out": (lambda tmp: {"private": tmp / "deep/out/p"}, "inside each other"),
    "labels that match nothing": (
        lambda tmp: {"labels": text(tmp, "path,label\nnone,x\n")},
        "matches none of the 24 images",
    ),
    "labels that are not there": (lambda tmp: {"labels": tmp / "none.csv"}, "cannot be read"),
    "labels twice": (
        lambda tmp: {"labels": text(tmp, "path,label\n.,x\n"), "labels_from": "modality"},
        "exclude each other",
    ),
    "labels from nowhere": (lambda tmp: {"labels_from": "folder:0"}, "--labels-from folder:0"),
    "labels too deep": (lambda tmp: {"labels_from": "folder:9"}, "--labels-from folder:9"),
    "splits that match nothing": (
        lambda tmp: {"splits": text(tmp, "path,split\nnone,train\n")},
        "matches none of the 24 images",
    ),
    "no division": (lambda tmp: {"split": "80/10"}, "--split 80/10"),
    "unknown codec": (lambda tmp: {"codec": "jpeg"}, "choose one of htj2k, raw"),
    "unknown colour": (lambda tmp: {"color": "red"}, "choose one of auto, gray, keep"),
    "unknown policy": (lambda tmp: {"uncertain": "maybe"}, "choose one of ignore, zero, one"),
    "unknown axis": (lambda tmp: {"axis": "3"}, "choose one of last, 0, 1, 2"),
    "unknown order": (lambda tmp: {"order": "random"}, "choose one of series, slices"),
    "order of slices": (lambda tmp: {"order": "slices"}, "cannot be written in shard format version 1"),
    "no size": (lambda tmp: {"shard_size": 0.0}, "--shard-size 0"),
    "no workers": (lambda tmp: {"workers": -1}, "--workers -1"),
    "no patients": (lambda tmp: {"patients": "path:nothing"}, "--patients"),
}


def damaged(tmp: Path) -> Path:
    (tmp / "damaged/x.dcm").write_bytes(bytes(128) + b"DICM")
    return tmp / "damaged"


def text(tmp: Path, content: str) -> Path:
    (tmp / "table.csv").write_text(content)
    return tmp / "table.csv"


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_leaves_nothing(options: PackOptions, tmp_path: Path, case: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "damaged").mkdir()
    changes, sentence = CASES[case]
    bad = replace(options, **changes(tmp_path))
    before = tree(tmp_path)
    with pytest.raises(radload.UsageError, match=sentence) as refused:
        pack(bad)
    assert tree(tmp_path) == before
    assert "\n" not in str(refused.value) and str(refused.value).count(". ") == 0


def test_images_none_of_which_can_be_decoded_leave_nothing(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_read(*_: Any) -> Any:
        raise ValueError("nothing is decoded")

    write_dicom(tmp_path / "src/a.dcm")
    monkeypatch.setattr("radload.pack.frames.read", no_read)
    before = tree(tmp_path)
    with pytest.raises(radload.UsageError, match=r"none of the images in --src .* can be packed \(internal-error 1\)"):
        pack(PackOptions(tmp_path / "src", tmp_path / "deep/out", workers=0))
    assert tree(tmp_path) == before


def test_empty_folders_may_be_there_already(options: PackOptions) -> None:
    options.out.mkdir(parents=True)
    options.out.with_name("out.private").mkdir()
    assert pack(options).samples == 24


def test_a_finished_data_set_without_its_private_folder_is_left_alone(options: PackOptions, tmp_path: Path) -> None:
    pack(options)
    before = tree(tmp_path)
    with pytest.raises(radload.UsageError, match=r"holds a data set, but its private folder is not"):
        pack(replace(options, private=tmp_path / "other"))
    assert tree(tmp_path) == before


def test_links_are_followed_once_and_strange_names_are_read(tmp_path: Path, write_dicom: WriteDicom) -> None:
    source = tmp_path / "src"
    write_dicom(source / "a" / "x.dcm")
    os.rename(source / "a/x.dcm", os.fsencode(source) + b"/a/\xff\xfe.dcm")  # noqa: PTH104 - a name that is no UTF-8
    (source / "a" / "loop").symlink_to(source)
    (source / "gone.dcm").symlink_to(source / "nowhere.dcm")
    os.mkfifo(source / "pipe")
    summary = pack(PackOptions(source, tmp_path / "out", workers=0))
    assert (summary.packed, summary.rejected, summary.ignored) == (1, {"unreadable": 1}, 0)
