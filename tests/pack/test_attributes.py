"""The registry is what is written: a packed data set holds its names and no other, and the page prints it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from conftest_pack import WriteSeries
from pydicom.datadict import tag_for_keyword

from radload.dataset.schema import MASK_RECORD, RECORD, SERIES_RECORD
from radload.pack import PackOptions, pack
from radload.pack.attributes import PLACES, REGISTRY, names_in, packed_as, permitted, registry_table
from radload.pack.confidentiality import RETAINABLE, listed, option_for

PAGE = (Path(__file__).parents[2] / "docs/privacy.md").read_text()


def test_a_packed_data_set_holds_what_the_registry_names(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "src", KVP="120")
    out = tmp_path / "out"
    pack(PackOptions(tmp_path / "src", out, keep=("KVP",), workers=0))
    records = {"records.bin": RECORD, "masks.bin": MASK_RECORD, "series.bin": SERIES_RECORD}
    found = {name: set(dtype.names or ()) for name, dtype in records.items()}
    for path in (out / "index/000000").glob("*.arrow"):
        found[path.stem] = {name for name in pa.ipc.open_file(path).schema.names if name != "kept_KVP"}
    found["manifest"] = set(json.loads((out / "manifest.json").read_bytes()))
    found["segment.json"] = set(json.loads((out / "index/000000/segment.json").read_bytes()))
    with tarfile.open(next(out.glob("*/*.tar"))) as tar:
        texts = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
        found["KEY.json"] = set.union(*(set(json.load(text)) for text in texts if text is not None))
    assert set(found) == set(PLACES)
    assert {place: found[place] ^ names_in(place) for place in PLACES} == {place: set() for place in PLACES}


def test_what_is_not_named_is_dropped() -> None:
    assert permitted("KEY.json", {"rows": 4, "patient_name": "Doe"}) == {"rows": 4}


def test_a_listed_attribute_leaves_only_as_something_else() -> None:
    for one in REGISTRY:
        assert all(tag_for_keyword(keyword) for keyword in one.keywords), one.name
        assert one.listed == bool(one.instead), one.name
        assert one.places and one.why
    assert len({one.name for one in REGISTRY}) == len(REGISTRY)


def test_the_page_prints_the_registry() -> None:
    assert registry_table() in PAGE


@pytest.mark.parametrize(
    "keyword",
    """PatientID PatientName PatientBirthDate PatientSex PatientAge PatientWeight EthnicGroup StudyDescription SeriesDescription
    ProtocolName StudyDate ContentTime AccessionNumber StudyID StudyInstanceUID SOPInstanceUID FrameOfReferenceUID InstitutionName
    StationName DeviceSerialNumber OperatorsName ImageComments DerivationDescription ContrastBolusAgent OverlayData CurveData""".split(),  # noqa: SIM905
)
def test_table_e_1_1_lists(keyword: str) -> None:
    assert listed(tag_for_keyword(keyword) or {"OverlayData": 0x60023000, "CurveData": 0x50003000}[keyword])


@pytest.mark.parametrize(
    "keyword",
    """Modality ImageType Manufacturer ManufacturerModelName SoftwareVersions KVP ConvolutionKernel BodyPartExamined SliceThickness
    PixelSpacing ImagePositionPatient PatientPosition ViewPosition Laterality SequenceName Rows WindowCenter RescaleSlope
    BurnedInAnnotation""".split(),  # noqa: SIM905
)
def test_table_e_1_1_does_not_list(keyword: str) -> None:
    assert not listed(tag_for_keyword(keyword) or 0)


def test_options_that_would_keep_a_listed_attribute() -> None:
    def option(keyword: str) -> str | None:
        return option_for(tag_for_keyword(keyword) or 0)

    assert option("StudyInstanceUID") == "Retain UIDs"
    assert option("StudyDate") == option("AcquisitionDateTime") == "Retain Longitudinal Temporal Information"
    assert option("StudyDescription") == option("ProtocolName") == "Clean Descriptors"
    assert option("DeviceSerialNumber") == "Retain Device Identity"
    assert option("InstitutionName") == "Retain Institution Identity"
    assert {option(keyword) for keyword in RETAINABLE.values()} == {"Retain Patient Characteristics"}
    assert option("PatientID") is option("PatientName") is None
    assert listed(0x00991001) and option_for(0x00991001) == "Retain Safe Private"


def test_an_attribute_is_packed_as_itself_or_not_at_all() -> None:
    assert (packed_as("Manufacturer"), packed_as("ImagePositionPatient")) == ("manufacturer", "image_position")
    assert packed_as("InstanceNumber") is None and packed_as("KVP") is None and packed_as("PatientID") is None
