"""A header becomes a row of the catalog and comes back: every field is a column, and its private details stay behind."""

from __future__ import annotations

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from radload.pack.catalog_schema import SCHEMA, decode, encode
from radload.pack.scan import InputFile
from radload.sources import (
    Header,
    PrivateDetails,
    Segmentation,
    SegmentationType,
    SegmentCode,
    SeriesAttributes,
    Units,
)

texts = st.none() | st.text(max_size=8)
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)
attributes = st.builds(
    SeriesAttributes,
    modality=st.text(max_size=4),
    body_part=texts,
    kernel=texts,
    field_strength=floats,
    b_value=floats,
    units=st.sampled_from(Units),
)
segmentations = st.builds(
    Segmentation,
    type=st.sampled_from(SegmentationType),
    maximum=st.integers(1, 255),
    segments=st.lists(st.integers(0, 65535), max_size=3).map(tuple),
    images=st.lists(
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.integers(0, 99)), max_size=3).map(tuple), max_size=3
    ).map(tuple),
    instances=st.frozensets(st.text(max_size=5), max_size=3),
    series=st.frozensets(st.text(max_size=5), max_size=3),
    numbers=st.frozensets(st.integers(0, 65535), max_size=3),
    codes=st.lists(st.builds(SegmentCode, st.integers(0, 9), st.text(max_size=3), st.text(max_size=3)), max_size=2).map(
        tuple
    ),
)
headers = st.builds(
    Header,
    source=st.just("a"),
    format=st.sampled_from(["dicom", "nifti", "image"]),
    rows=st.integers(1, 65535),
    cols=st.integers(1, 65535),
    channels=st.sampled_from([1, 3]),
    bits=st.sampled_from([1, 8, 16, 32]),
    frames=st.integers(1, 9),
    attributes=attributes,
    parts=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    patient=texts,
    study=texts,
    series=texts,
    accession=texts,
    positions=st.none() | st.lists(st.floats(-1e6, 1e6), max_size=4).map(tuple),
    instance=st.none() | st.integers(-(2**31), 2**31),
    normal=st.none() | st.tuples(*[st.floats(-1, 1)] * 3),
    image_type=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    intent=texts,
    segmentation=st.none() | segmentations,
    few_values=st.lists(st.integers(-(2**31), 2**31), max_size=3).map(tuple),
    phases=st.none() | st.lists(st.tuples(*[st.integers(0, 99)] * 3), max_size=3).map(tuple),
    origins=st.none() | st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), max_size=3).map(tuple),
    laterality=texts,
    view=texts,
    name=texts,
    burned_in=texts,
    us_regions=st.lists(st.tuples(*[st.integers(0, 999)] * 4), max_size=2).map(tuple),
    private=st.builds(PrivateDetails, study_date=st.none() | st.dates(), patient_age=floats, station=texts),
)


@given(st.lists(headers | st.none(), min_size=1, max_size=5))
def test_a_header_comes_back_as_it_was_but_for_its_private_details(outcomes: list[Header | None]) -> None:
    files = [InputFile(f"{number}", 1, 1) for number in range(len(outcomes))]
    named = [None if one is None else replace(one, source=f"{number}") for number, one in enumerate(outcomes)]
    catalog = decode(iter([encode(files, named)]), files)
    assert list(catalog.headers) == [replace(one, private=PrivateDetails()) for one in named if one is not None]
    assert catalog.rows.tolist() == [number for number, one in enumerate(named) if one is not None]
    assert catalog.ignored == named.count(None)


def test_every_field_of_a_header_is_a_column() -> None:
    kinds = (Header, SeriesAttributes, PrivateDetails)
    names = [field.name for kind in kinds for field in fields(kind) if field.name not in ("attributes", "private")]
    assert set(names) <= set(SCHEMA.names) and len(SCHEMA.names) == len(set(SCHEMA.names))


def test_values_that_no_column_holds_cost_themselves_only() -> None:
    header = Header("a", "dicom", 1, 1, 1, 8, 1, SeriesAttributes("\udcff\ud800"), instance=10**300, patient="\ud800")
    (row,) = encode([InputFile("a\udcff", 1, 1)], [header]).to_pylist()
    assert (row["source"], row["instance"], row["patient"]) == ("a\\xff", None, "\\ud800")
