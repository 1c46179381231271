"""A marker in every attribute of every VR, in private tags, nested sequences, text chunks and names of files and folders is nowhere
below --out, in what is printed or in what is raised; and the private folder does hold those that it is there for."""

from __future__ import annotations

import io
import json
import logging
import tarfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from marker_files import DEVICE, STRUCTURE, Markers, damaged, dicom, jpeg, nifti, png, standard_attributes
from pydicom.datadict import tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from radload.cli import main
from radload.pack.confidentiality import listed
from radload.pack.persons import names_nobody, vocabulary
from radload.sources import NotAnImage, Refused, Slice, read, scan

SYNTAXES = {"explicit": None, "implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}


def make(root: Path, markers: Markers) -> None:
    """DICOM in three syntaxes and with many frames, NIfTI, PNG and JPEG, in folders and files whose names are markers too."""
    folder = root / markers.text("folder", "ZQXFOLDER^Name") / "deeper ZQXFOLDER"
    folder.mkdir(parents=True)
    for name, syntax in SYNTAXES.items():
        image = dicom(markers)
        if syntax is not None:
            image.file_meta.TransferSyntaxUID = syntax
        with pydicom.config.disable_value_validation():
            image.save_as(
                folder / f"ZQXFILE {name}.dcm", implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True
            )
    with pydicom.config.disable_value_validation():
        dicom(markers, frames=3).save_as(folder / "ZQXFILE frames.dcm")
    nifti(folder / "ZQXFILE.nii", markers)
    nifti(folder / "ZQXFILE.nii.gz", markers)
    png(folder / "ZQXFILE.png", markers)
    jpeg(folder / "ZQXFILE.jpg", markers)
    (folder / "ZQXFILE.txt").write_text("ZQXFILE: no image")
    markers.text("file", "ZQXFILE")
    for number in range(3):
        markers.text(f"frame {number}", f"ZQXPLANE{number}")


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that can be read below a folder: names, bytes, headers and members of tars, tables as JSON."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"name of {name}", name.encode()
        if not path.is_file():
            continue
        data = path.read_bytes()
        yield name, data
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
                    assert not member.pax_headers
                    content = tar.extractfile(member)
                    assert content is not None
                    yield f"{name}/{member.name}", content.read()
        elif path.suffix == ".arrow":
            table = pa.ipc.open_file(io.BytesIO(data)).read_all()
            yield f"{name} as JSON", json.dumps([table.to_pylist(), str(table.schema)], default=str).encode()
        elif path.suffix == ".parquet":
            yield (
                f"{name} as JSON",
                json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False, default=str).encode(),
            )


def search(folder: Path, markers: Markers) -> set[tuple[str, str]]:
    """(what was planted, where it is found)."""
    found = set()
    for where, data in contents(folder):
        found |= {(name, where) for name, forms in markers.planted.items() if any(form in data for form in forms)}
    return found


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["pack", *arguments])
    return int(ended.value.code or 0)


def test_every_vr_is_planted(tmp_path: Path) -> None:
    """The material is what it claims to be: every attribute of PS3.6 but those named in STRUCTURE, read back by pydicom."""
    markers = Markers()
    with pydicom.config.disable_value_validation():
        buffer = io.BytesIO()
        dicom(markers).save_as(buffer)
        image = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
    wanted = {(tag, vr) for tag, vr, keyword in standard_attributes() if keyword not in STRUCTURE}
    assert len(wanted) > 4500 and {tag for tag, _ in wanted} <= {int(element.tag) for element in image.elements()}
    vrs = {vr for _, vr in wanted}
    assert vrs >= vocabulary(
        "AE AS AT CS DA DS DT FD FL IS LO LT OB OF OL OW PN SH SL SQ SS ST TM UC UI UL UR US UT UV"
    )
    text = buffer.getvalue()
    assert sum(any(form in text for form in forms) for forms in markers.planted.values()) > 4000


@pytest.mark.parametrize("workers", ["0", "2"])
def test_no_marker_leaves(
    tmp_path: Path, workers: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    markers = Markers()
    make(tmp_path / "src", markers)
    assert (
        run("--src", str(tmp_path / "src"), "--out", str(tmp_path / "out"), "--workers", workers, "--attest-no-phi")
        == 0
    )
    printed = "".join(capfd.readouterr())
    assert "packed" in printed
    shown = printed + caplog.text
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest["source"] == {"packed": 8, "rejected": 0, "ignored": 1} and manifest["samples"] == 3 + 3 + 8 + 2
    assert "ZQX" not in shown and "1.2.777" not in shown
    found = search(tmp_path / "out", markers)
    device = {f"{tag_for_keyword(keyword):08X}" for keyword in DEVICE}
    assert {where for name, where in found if name in device} == {
        "index/000000/series.arrow", "index/000000/series.arrow as JSON"
    }  # fmt: skip
    assert {item for item in found if item[0] not in device} == set()
    private = {name for name, _ in search(tmp_path / "out.private", markers)}
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID"):
        assert f"{tag_for_keyword(keyword):08X}" in private
    assert {"folder", "file"} <= private


def test_not_even_the_device_may_name_the_patient(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One marker as name and number, and in every text that may leave: the texts go."""
    image = dicom(Markers())
    with pydicom.config.disable_value_validation():
        image.PatientName, image.PatientID = "ZQXQUASTENFLOSSER^XAVER", "ZQXPID4711"
        image.Manufacturer, image.ManufacturerModelName = "for Xaver", "ZQXPID4711 II"
        image.ConvolutionKernel, image.BodyPartExamined = "zqxquastenflosser", "ZQXQUASTENFLOSSER"
        image.ViewPosition, image.Laterality, image.Modality = "XAVER", "ZQXQUASTENFLOSSER", "ZQXPID4711"
        (tmp_path / "src").mkdir()
        image.save_as(tmp_path / "src/a.dcm")
    assert run("--src", str(tmp_path / "src"), "--out", str(tmp_path / "out"), "--workers", "0") == 0
    for where, data in contents(tmp_path / "out"):
        for secret in (b"zqxquastenflosser", b"xaver", b"zqxpid4711"):
            assert secret not in data.lower(), where
    assert "ZQX" not in "".join(capfd.readouterr())
    row = pa.ipc.open_file(tmp_path / "out/index/000000/series.arrow").read_all().to_pylist()[0]
    assert [row[name] for name in ("manufacturer", "model", "kernel", "body_part", "modality")] == [None] * 4 + [""]


def test_damaged_files_tell_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """What `scan` and `read` raise for broken variants of the files, traceback and causes included, quotes nothing of them."""
    markers = Markers()
    make(tmp_path / "whole", markers)
    broken = tmp_path / "src"
    broken.mkdir()
    refused = slices = 0
    for file in sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file()):
        for number, data in enumerate(damaged(file.read_bytes(), 3, 12)):
            path = broken / f"{len(list(broken.iterdir()))}_{number}{file.suffix}"
            path.write_bytes(data)
            outcomes: list[object] = []
            for door in (lambda path: [scan(path, path.name)], lambda path: list(read(path))):
                try:
                    outcomes += door(path)
                except (Refused, NotAnImage) as error:
                    outcomes.append(error)
            for outcome in outcomes:
                error = outcome[1] if isinstance(outcome, tuple) else outcome
                slices += isinstance(error, Slice)
                if isinstance(error, Exception):
                    refused += 1
                    told = "".join(traceback.format_exception(error)) + repr(vars(error))
                    assert "ZQX" not in told and "1.2.777" not in told, told
    assert refused > 60 and slices > 30
    capfd.readouterr()
    assert run("--src", str(broken), "--out", str(tmp_path / "out"), "--workers", "2") == 0
    shown = "".join(capfd.readouterr()) + caplog.text
    assert "ZQX" not in shown and "1.2.777" not in shown and "rejected" in shown
    reasons = pq.read_table(tmp_path / "out.private/rejects.parquet").column("reason").to_pylist()
    assert len(reasons) > 30 and not any("ZQX" in reason or "1.2.777" in reason for reason in reasons)
    device = {f"{tag_for_keyword(keyword):08X}" for keyword in DEVICE}
    left = {name for name, where in search(tmp_path / "out", markers) if "series.arrow" not in where}
    assert left == set() and {name for name, _ in search(tmp_path / "out", markers)} <= device


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept", "NumberOfFrames"])
def test_a_number_that_is_a_name_is_refused_without_it(tmp_path: Path, keyword: str) -> None:
    image = dicom(Markers())
    setattr(image, keyword, "1234567890")
    with pydicom.config.disable_value_validation():
        image.save_as(tmp_path / "a.dcm")
    data = (tmp_path / "a.dcm").read_bytes()
    assert data.count(b"1234567890") == 1
    (tmp_path / "a.dcm").write_bytes(data.replace(b"1234567890", b"ZQXDOE^ANN"))
    with pytest.raises(Refused) as raised:
        list(read(tmp_path / "a.dcm"))
    assert "ZQX" not in "".join(traceback.format_exception(raised.value))


def test_real_headers_stay(shared_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A name in StudyDescription, a date and a UID in PatientID, hospitals: no text of a listed attribute of real files leaves."""
    source = tmp_path / "src"
    chosen = [*(shared_data / "vendors").iterdir(), *(shared_data / "luts_overlays").iterdir(),
              *sorted((shared_data / "series/mr_brain_t1_adi").iterdir())[:4], *(shared_data / "photometric").iterdir(),
              *(shared_data / "syntaxes").iterdir()]  # fmt: skip
    source.mkdir()
    secrets: dict[bytes, str] = {}
    for number, path in enumerate(path for path in chosen if path.is_file()):
        (source / f"{number}").symlink_to(path)
        try:
            image = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # noqa: BLE001 - another format, or broken: there is no header to look for
            continue
        logging.disable(logging.WARNING)
        device = " ".join(str(image.get(keyword)) for keyword in DEVICE)  # private tags repeat it
        for element in image.iterall():
            if listed(int(element.tag)) and element.VR in ("LO", "SH", "LT", "ST", "UT", "PN", "UI", "DA", "DT", "TM"):
                for text in str(element.value).replace("^", "\\").split("\\"):
                    word = text.strip()
                    least = 8 if word.isdigit() else 6  # shorter or simpler ones stand in numbers by chance
                    if (
                        len(word) >= least
                        and len(set(word)) >= 4
                        and word.isascii()
                        and word not in device
                        and not names_nobody(word)
                    ):
                        secrets[word.encode()] = element.keyword
        logging.disable(logging.NOTSET)
    assert b"BORJAN GAGOSKI" in secrets and b"202009101100" in secrets and len(secrets) > 300
    capfd.readouterr()
    assert run("--src", str(source), "--out", str(tmp_path / "out")) == 0
    shown = "".join(capfd.readouterr()).encode()
    public = [(where, data) for where, data in contents(tmp_path / "out") if not where.endswith((".j2c", ".npy"))]
    leaks = {(word, keyword, where) for word, keyword in secrets.items() for where, data in public if word in data}
    assert leaks == set()
    assert not [word for word in secrets if word in shown]
    assert np.mean([any(word in data for _, data in contents(tmp_path / "out.private")) for word in secrets]) > 0.1
