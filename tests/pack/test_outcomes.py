"""What a pack does with each real file is written down, file by file: outcomes.csv, made by outcomes.py."""

from __future__ import annotations

import csv
import re
import time
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from outcomes import LEFT_ALONE, PYDICOM, decide_all, folders, outcomes_of, read_table

from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.codes import PACK_CODES
from radload.pack.eligible import KINDS
from radload.pack.options import INCLUDABLE
from radload.sources import CODES

SECONDS = 60  # for the whole folder on two cores

# What INDEX.csv says why a file is to be refused, and the outcomes that fit.
FITTING = (
    (r"no pixel data \(.*SR Storage", {"structured-report"}),
    (r"no pixel data \(RT", {"rt-object", "truncated"}),
    (r"no pixel data \(.*Waveform", {"waveform"}),
    (r"no pixel data \(", {"no-pixel-data", "truncated", "not-an-image-object"}),
    (r"no image content", {"no-pixel-data", "truncated", "dicomdir", "not-an-image-object"}),
    (r"unsupported transfer syntax", {"unsupported-transfer-syntax", "looks-like-mask"}),
    (r"cannot be decoded", {"decode-failed", "truncated", "bad-header", "no-pixel-data", "looks-like-mask"}),
    (r"gzip CRC", {"bad-checksum", "decode-failed"}),
    (r"cut to|ends early|too short|400 bytes|marker only", {"truncated"}),
    (r"zero bytes", {"empty-file"}),
    (r"CIFTI", {"not-voxels"}),
    (r"FileNotFoundError", {"missing-part"}),
    (r"HeaderDataError|not DICOM|gzip-wrapped", {"ignored"}),
)
A_PICTURE = "nondicom/highdicom__frame_rgb.jpeg"  # no DICOM, and packed all the same
SOME_FRAMES = frozenset(  # some frames can be read: the others have rows of their own in rejects.parquet
    ("broken/fo-dicom__multiframe.dcm", "broken/pydicom-data__emri_small_jpeg_2k_lossless_too_short.dcm")
)


def test_files_of_the_pydicom_package_end_as_the_table_says(tmp_path: Path) -> None:
    """Present wherever radload is; another version of pydicom may have others besides."""
    ((prefix, source),) = folders(None)
    table = read_table()
    found = {prefix + name: outcome for name, outcome in outcomes_of(source, tmp_path / "out").items()}
    expected = {name: outcome for name, (outcome, *_) in table.items() if name in found}
    assert len(expected) > 100
    assert {name: found[name] for name in expected} == expected
    assert len(set(expected.values())) > 10


@pytest.mark.parametrize("decided", [False, True])
def test_every_file_of_the_folder_ends_as_the_table_says_within_a_minute(
    shared_data: Path, tmp_path: Path, decided: bool
) -> None:
    expected = {
        name: after if decided else outcome
        for name, (outcome, _, after) in read_table().items()
        if not name.startswith(PYDICOM)
    }
    decisions = decide_all(shared_data, tmp_path / "decisions.toml") if decided else None
    started = time.monotonic()
    found = outcomes_of(shared_data, tmp_path / "out", workers=2, decisions=decisions)
    assert time.monotonic() - started < SECONDS
    assert {name: found[name] for name in found if name not in LEFT_ALONE} == expected
    assert len(expected) > 700
    frames = {
        row["source"]
        for row in pq.read_table(tmp_path / "out.private/rejects.parquet").to_pylist()
        if row["frame"] is not None
    }
    assert frames == {name for name in SOME_FRAMES if expected[name] == "packed"} and (frames == SOME_FRAMES) == decided


def test_real_series_are_packed_whole(shared_data: Path, tmp_path: Path) -> None:
    found = outcomes_of(shared_data / "series", tmp_path / "out")
    assert list(found.values()) == ["packed"] * 440


def test_what_cannot_be_read_has_a_fitting_code(shared_data: Path) -> None:
    table = read_table()
    with (shared_data / "INDEX.csv").open(newline="") as file:
        reasons = {row["file"]: row["expect"] for row in csv.DictReader(file) if row["expect"].startswith("refuse:")}
    wrong = {}
    for name, reason in reasons.items():
        outcome = table[name][2].removeprefix("rejected ")
        fitting = next(codes for pattern, codes in FITTING if re.search(pattern, reason))
        if outcome not in fitting and name != A_PICTURE and not (name in SOME_FRAMES and outcome == "packed"):
            wrong[name] = (outcome, reason)
    assert not wrong and len(reasons) > 60


def test_what_can_be_read_is_packed_or_left_out_for_what_it_is(shared_data: Path) -> None:
    """No file that decodes is lost to a code about damage."""
    about_content = {*INCLUDABLE, "mask-ambiguous"}
    complex_numbers = {"nifti/nifti-rs__complex_complex32.nii", "nifti/nifti-rs__complex_complex64.nii"}
    table = read_table()
    with (shared_data / "INDEX.csv").open(newline="") as file:
        decodes = [row["file"] for row in csv.DictReader(file) if row["expect"] == "decodes"]
    outcomes = {name: table[name][2].removeprefix("rejected ") for name in decodes}
    wrong = {name: outcome for name, outcome in outcomes.items() if outcome not in about_content | {"packed"}}
    assert set(wrong) <= complex_numbers and len(decodes) > 700


def test_codes_of_the_table_are_known_and_flags_follow_from_them() -> None:
    for name, (outcome, flags, decided) in read_table().items():
        assert (decided != outcome) == (outcome == "rejected quarantined"), name
        code = outcome.removeprefix("rejected ")
        assert outcome in ("packed", "ignored") or code in set(CODES) | set(PACK_CODES) | set(KINDS), name
        assert flags in ("", f"--include {code}") and (not flags or code in INCLUDABLE), name


@pytest.mark.parametrize("kind", INCLUDABLE)
def test_flags_bring_their_files_in(kind: str, shared_data: Path, tmp_path: Path) -> None:
    """The files of one kind alone, which cannot be packed without the flag; a kind without a real file has its test in test_eligible.py."""
    wanted = defaultdict(list)
    places = dict(folders(shared_data))
    for name, (outcome, flags, _) in read_table().items():
        prefix = PYDICOM if name.startswith(PYDICOM) else ""
        if flags == f"--include {kind}" and (places[prefix] / name.removeprefix(prefix)).exists():
            wanted[outcome].append(places[prefix] / name.removeprefix(prefix))
    if kind in ("screen-save", "raw-mammogram"):
        assert not wanted
        return
    (files,) = wanted.values()
    (tmp_path / "src").mkdir()
    for number, path in enumerate(files):
        (tmp_path / "src" / f"{number}").symlink_to(path)
    decisions = decide_all(tmp_path / "src", tmp_path / "decisions.toml", (kind,))
    found = outcomes_of(tmp_path / "src", tmp_path / "out", include=(kind,), workers=0, decisions=decisions)
    assert set(found.values()) == {"packed"} and len(found) == len(files)
    with pytest.raises(UsageError, match=f"--include {kind}"):
        pack(PackOptions(tmp_path / "src", tmp_path / "other", workers=0))


def test_files_in_are_packed_rejected_or_ignored_in_every_folder(shared_data: Path, tmp_path: Path) -> None:
    """Each row of rejects has a code of the page; a folder of which nothing can be packed leaves nothing."""
    folders_here = sorted(path for path in shared_data.rglob("*") if path.is_dir())
    packed = 0
    for number, folder in enumerate(folders_here):
        out = tmp_path / str(number)
        try:
            summary = pack(PackOptions(folder, out, workers=0))
        except UsageError:
            assert not out.exists() and not out.with_name(f"{number}.private").exists()
            continue
        packed += 1
        total = summary.packed + sum(summary.rejected.values()) + summary.ignored
        assert total == sum(path.is_file() for path in folder.rglob("*")), folder.name
        rejects = pq.read_table(out.with_name(f"{number}.private") / "rejects.parquet").column("code").to_pylist()
        assert set(rejects) <= set(CODES) | set(PACK_CODES) | set(KINDS)
    assert packed > 20
