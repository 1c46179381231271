"""`prepare` gives the loader's tensor bit for bit: every modality and option of a pack; and one sentence for what cannot be prepared."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from conftest_pack import WriteDicom, WriteSeries, write_png
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from torch import Tensor

import radload
from radload.errors import RadloadError
from radload.inference.tensors import prepare_array
from radload.inference.write import write
from radload.loading import Preparation, Recipe
from radload.loading.planning.recipe import Window
from radload.pack import PackOptions, pack
from radload.pack.trace import trace

Files = dict[tuple[str, int], Tensor]


def _noise(shape: tuple[int, ...], seed: int, top: int = 900) -> NDArray[np.int16]:
    """Smooth enough for levels to differ from single pixels, rough enough for every pixel to count."""
    random = np.random.default_rng(seed)
    return np.asarray(np.cumsum(random.integers(-9, 10, shape), axis=-1) + random.integers(0, top), np.int16)


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """CT and MR stacks, PET with slopes of its own per slice, a radiograph, ultrasound with scan regions, a NIfTI volume, two PNG."""
    root = tmp_path / "src"
    for place in range(4):
        name = f"{(place * 3 + 1) % 4}.dcm"
        write_dicom(
            root / "ct" / name, _noise((130, 120), place), patient="A", series="ct", place=place, RescaleType="HU"
        )
        mr = {
            "Modality": "MR",
            "RescaleSlope": None,
            "RescaleIntercept": None,
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        }
        write_dicom(root / "mr" / name, _noise((96, 150), 10 + place), patient="A", series="mr", place=place, **mr)
        pet = {"Modality": "PT", "RescaleSlope": 0.7 + place / 7, "RescaleIntercept": 0, "Units": "BQML"}
        pet |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}
        write_dicom(root / "pt" / name, abs(_noise((64, 64), 20 + place)), patient="B", series="pt", place=place, **pet)
    flat: dict[str, Any] = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient"))
    x_ray = flat | {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": None}
    x_ray |= {"RescaleIntercept": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}
    write_dicom(root / "dx.dcm", abs(_noise((200, 170), 30)), patient="C", series="dx", **x_ray)
    region = Dataset()
    region.RegionSpatialFormat = 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 11, 20
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 89, 69
    us = flat | {
        "Modality": "US",
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "SequenceOfUltrasoundRegions": [region],
    }
    us |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1"}
    pixels = np.random.default_rng(5).integers(0, 256, (80, 100, 3), np.uint8)
    write_dicom(root / "us.dcm", pixels, patient="D", series="us", **us)
    volume = nibabel.nifti1.Nifti1Image(_noise((40, 50, 6), 40), np.diag([0.9, 1.1, 3.0, 1.0]))
    nibabel.loadsave.save(volume, root / "volume.nii.gz")
    write_png(root / "grey.png", np.random.default_rng(6).integers(0, 256, (90, 60), np.uint8))
    write_png(root / "colour.png", np.random.default_rng(7).integers(0, 256, (60, 90, 3), np.uint8))
    return root


def loaded(shards: Path, **options: Any) -> tuple[Files, Preparation]:
    """What the loader gives in evaluation, by file and frame; and its preparation."""
    options = {"size": 40} | options
    with radload.Loader(shards, None, batch_size=5, shuffle=False, drop_last=False, **options) as loader:
        found: Files = {}
        for batch in loader:
            rows = batch["index"][batch["valid"]].tolist()
            for one, image in zip(trace(shards, [str(row) for row in rows]), batch["image"], strict=False):
                found[str(one.source), int(one.frame or 0)] = image.clone()
        return found, loader.preparation


def same(found: Tensor, expected: Tensor) -> bool:
    return found.dtype == expected.dtype and torch.equal(found.view(torch.uint8), expected.view(torch.uint8))


def test_every_kind_of_file_under_every_option_of_pack_and_loader(source: Path, tmp_path: Path) -> None:
    windows = (Window("display"), Window("from_zero"), Window("percentiles"))
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"codec": "raw", "color": "gray", "axis": "0"}, {"size": (33, 47), "fit": "crop", "dtype": "bfloat16"}),
        ({"color": "keep", "crop_us_regions": True}, {"resolution": "full", "window": "file", "channels": 1}),
        ({"wide": "scale"}, {"level_slack": 2.0, "spacing": 1.3, "window": Recipe("odd", {"*": windows})}),
    ]
    for number, (pack_options, loader_options) in enumerate(cases):
        shards = tmp_path / f"shards{number}"
        us = () if "crop_us_regions" in pack_options else ("us.dcm",)
        pack(PackOptions(source, shards, workers=0, attest_no_phi=True, **pack_options))
        expected, preparation = loaded(shards, **loader_options)
        assert len({name.split("/")[0] for name, _ in expected}) == 8 - len(us)
        assert Preparation.from_dict(json.loads(json.dumps(preparation.as_dict()))) == preparation
        for name in ("ct", "mr", "pt"):
            files = sorted((source / name).iterdir())
            found = radload.prepare(files, preparation)
            for file, image in zip(files, found, strict=True):  # in the order given, which is not that of the slices
                assert same(image, expected[file.relative_to(source).as_posix(), 0]), (number, file.name)
            ordered = radload.prepare(source / name, preparation)  # and a folder's in that of the slices
            assert same(ordered, found[[((place * 3 + 1) % 4) for place in range(4)]])
        for name in {"dx.dcm", "us.dcm", "volume.nii.gz", "grey.png", "colour.png"} - set(us):
            found = radload.prepare(source / name, preparation)
            assert len(found) == sum(file == name for file, _ in expected)
            assert all(same(image, expected[name, frame]) for frame, image in enumerate(found)), (number, name)


@pytest.mark.parametrize("where", ["radload.inference.files.scan_file", "radload.pack.frames.read"])
def test_a_file_that_does_not_answer_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """While its header is read, and while its pixels are; the others are prepared as always, in the same way."""
    pack(PackOptions(source, tmp_path / "shards", workers=0, include=("secondary-capture",)))
    recipe = tmp_path / "backbone.json"
    recipe.write_text(json.dumps({"preparation": loaded(tmp_path / "shards")[1].as_dict()}))
    one, other = source / "ct" / "0.dcm", source / "ct" / "1.dcm"
    comes_back = Event()
    module, _, name = where.rpartition(".")
    real = getattr(importlib.import_module(module), name)

    def waits(*given: Any) -> Any:
        if other.name in repr(given):
            comes_back.wait(60)
        return real(*given)

    monkeypatch.setattr(where, waits)
    write(tmp_path / "x.npy", [one], recipe, timeout=60.0)
    assert (np.load(tmp_path / "x.npy") == prepare_array([one], recipe)).all()
    with pytest.raises(RadloadError, match=r"ct/1\.dcm does not answer: 0\.5 seconds"):
        write(tmp_path / "y.npy", [one, other], recipe, timeout=0.5)
    comes_back.set()
    assert not (tmp_path / "y.npy").exists()


def test_all_files_at_once_are_as_one_by_one(source: Path, tmp_path: Path) -> None:
    pack(PackOptions(source, tmp_path / "shards", workers=0, attest_no_phi=True, crop_us_regions=True))
    expected, preparation = loaded(tmp_path / "shards")
    names = ["grey.png", "volume.nii.gz", "us.dcm", *(f"mr/{i}.dcm" for i in (2, 0, 1, 3)), "ct/3.dcm"]
    found = radload.prepare([source / name for name in names], preparation)
    keys = [(name, frame) for name in names for frame in range(6 if name.endswith("gz") else 1)]
    assert len(found) == len(keys)
    assert all(same(image, expected[key]) for image, key in zip(found, keys, strict=True))


def test_one_slice_of_a_series_needs_its_statistics(source: Path, tmp_path: Path) -> None:
    pack(PackOptions(source, tmp_path / "shards", workers=0, attest_no_phi=True))
    expected, preparation = loaded(tmp_path / "shards")
    one = source / "mr/2.dcm"
    with pytest.raises(radload.UsageError, match=r"2.dcm is one slice of a series, .* give all files of the series"):
        radload.prepare(one, preparation)
    with radload.open(tmp_path / "shards") as ds:
        statistics = {ds[row].meta["modality"]: ds[row].meta["statistics"] for row in range(len(ds))}
    assert same(radload.prepare(one, preparation, statistics=statistics["MR"])[0], expected["mr/2.dcm", 0])
    alone = radload.prepare(one, preparation, statistics="given")[0]
    assert not same(alone, expected["mr/2.dcm", 0])  # that is why
    assert same(
        radload.prepare(source / "ct/2.dcm", preparation)[0], expected["ct/2.dcm", 0]
    )  # HU: a window of numbers
    for statistics_given in ({"p005": 3.0}, {"p005": 3.0, "p995": float("nan")}):
        with pytest.raises(radload.UsageError, match=r"needs p005 and p995 .* p995 is"):
            radload.prepare(one, preparation, statistics=statistics_given)
    with pytest.raises(radload.UsageError, match="statistics='series' cannot be used"):
        radload.prepare(one, preparation, statistics="series")


def test_what_seems_incomplete_is_said(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pack(PackOptions(source, tmp_path / "shards", workers=0, attest_no_phi=True))
    _, preparation = loaded(tmp_path / "shards")
    files = sorted((source / "mr").iterdir(), key=lambda file: (int(file.stem) - 1) * 3 % 4)
    radload.prepare(files, preparation)
    assert not caplog.records
    radload.prepare([files[0], files[1], files[3]], preparation)
    assert "slices seem to be missing between those given (1)" in caplog.text
    caplog.clear()
    radload.prepare(source / "dx.dcm", preparation)
    assert "if its series has more images, give them all" in caplog.text
    caplog.clear()
    pack(PackOptions(source, tmp_path / "thin", workers=0, attest_no_phi=True, slices="every:2"))
    expected, thin = loaded(tmp_path / "thin")
    assert not thin.whole_series
    with pytest.raises(radload.UsageError, match="packed without some slices of its series"):
        radload.prepare(files, thin)
    chosen = [file for file in files if (f"mr/{file.name}", 0) in expected]
    assert len(chosen) == 2
    found = radload.prepare(chosen, thin, statistics="given")
    assert all(same(image, expected[f"mr/{file.name}", 0]) for image, file in zip(found, chosen, strict=True))


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no image")
    return folder / "notes.txt"


def _cut(folder: Path) -> Path:
    path = folder / "src/ct/0.dcm"
    path.write_bytes(path.read_bytes()[:-9000])
    return path


def _mask(folder: Path) -> Path:
    write_png(folder / "lesion_mask.png", np.zeros((80, 80), np.uint8))
    return folder / "lesion_mask.png"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_text, r"notes.txt cannot be prepared: it is in no format that radload reads"),
        (_cut, r"0.dcm cannot be prepared: .* \(short-pixel-data\)|0.dcm cannot be prepared: "),
        (_mask, r"lesion_mask.png cannot be prepared: its name says that it is a mask"),
        (lambda folder: folder / "absent.dcm", r"there is no file .*absent.dcm"),
        (lambda folder: [folder / "src/dx.dcm"] * 2, r"dx.dcm is given twice"),
        (lambda folder: [], r"there is no file to prepare"),
    ],
)
def test_a_mistaken_file_is_one_sentence(
    source: Path, tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    preparation = Preparation((8, 8), Recipe("x", {"*": (Window("fixed", 0, 100),)}))
    with pytest.raises(radload.UsageError, match=sentence) as raised:
        radload.prepare(make(tmp_path), preparation)
    assert "\n" not in str(raised.value)


def test_kinds_that_a_pack_leaves_out_are_asked_for(
    tmp_path: Path, write_dicom: WriteDicom, write_series: WriteSeries, caplog: pytest.LogCaptureFixture
) -> None:
    preparation = Preparation((8, 8), Recipe("x", {"*": (Window("fixed", 0, 100),)}))
    scout = tmp_path / "all/scout.dcm"
    write_dicom(scout, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], series="scout")
    with pytest.raises(radload.UsageError, match=r"scout.dcm cannot be prepared: a localizer .* include="):
        radload.prepare(scout, preparation)
    assert radload.prepare(scout, preparation, include=["localizer"]).shape == (1, 1, 8, 8)
    write_series(tmp_path / "all", 3, series="s")
    assert len(radload.prepare(tmp_path / "all", preparation)) == 3
    assert "files were left out, as a pack leaves them out (1): a localizer by its Image Type (1)" in caplog.text


def test_decisions_of_the_pack_are_applied_or_asked_for(tmp_path: Path, write_dicom: WriteDicom) -> None:
    from radload.pack.decisions import write_template
    from radload.review.find import find_groups

    us = {
        "Modality": "US",
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1",
    }
    pixels = np.random.default_rng(1).integers(0, 256, (64, 80), np.uint8)
    write_dicom(tmp_path / "src/us.dcm", pixels, **us)
    (group, headers), *_ = find_groups(tmp_path / "src", tmp_path / "none", 0).items()
    decided = tmp_path / "decisions.toml"
    decision = {"decision": "pack", "crop": [8, 10, 50, 60], "mask": [[8, 10, 9, 9]]}
    decided.write_text(write_template([(group, len(headers), 1)], {group.name: decision}))
    pack(PackOptions(tmp_path / "src", tmp_path / "shards", workers=0, decisions=decided))
    expected, preparation = loaded(tmp_path / "shards", size=(50, 60))
    found = radload.prepare(tmp_path / "src/us.dcm", preparation, decisions=decided)
    assert same(found[0], expected["us.dcm", 0]) and float(found[0, 0, 0, 0]) == -2.0
    with pytest.raises(radload.UsageError, match="give the same file by decisions="):
        radload.prepare(tmp_path / "src/us.dcm", preparation)
    other = tmp_path / "other.toml"
    other.write_text(decided.read_text() + "\n# another\n")
    with pytest.raises(radload.UsageError, match="not the file that the data set was packed with"):
        radload.prepare(tmp_path / "src/us.dcm", preparation, decisions=other)
