"""Headers, files and jobs in few bytes are what went in, to the last field, however they are chosen and asked for."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from catalog_make import make_files, make_header

from radload.pack.compact import Headers, Lazy, SourceFiles, chosen, joined, without
from radload.pack.places import places_of
from radload.pack.scan import InputFile
from radload.pack.walk import walk
from radload.sources import Header, PrivateDetails, SegmentationType, SeriesAttributes
from radload.sources.segmentation import Segmentation


def headers() -> list[Header]:
    """Slices of two series, and what differs from them in each field that a slice may have of its own."""
    one = [replace(make_header(file.source), private=PrivateDetails()) for file in make_files(250)]
    first = one[0]
    odd = [
        replace(
            first, source="no.dcm", sop=None, positions=None, instance=None, origins=None, phases=None, normal=None
        ),
        replace(first, source="caf\udce9/x.dcm", patient="M\u00fcller", sop="1.2.\u00fc"),
        replace(first, source="zero.dcm", normal=(-0.0, 0.0, 1.0), positions=(-0.0,), instance=-5),
        replace(first, source="whole.dcm", positions=(3,), origins=((1, 2.0, 3.0),)),
        replace(first, source="huge.dcm", instance=1 << 70),
        replace(first, source="nan.dcm", instance=0, sop=""),
        replace(first, source="clip.dcm", frames=9, positions=None, origins=None, phases=((0, 0, 1),) * 9),
        replace(first, source="volume.dcm", frames=2, positions=(1.0, 2.0), origins=((0.0, 0.0, 1.0),) * 2),
        Header("x.nii.gz", "nifti", 9, 8, 1, 16, 7, SeriesAttributes(), parts=("x.img",), few_values=(0, 1)),
        Header("a/b.png", "image", 9, 8, 3, 8, 1, SeriesAttributes("US"), us_regions=((0, 0, 4, 4),)),
    ]
    return [*one, *odd]


def exactly(header: Header) -> str:
    """What tells 1 from 1.0, and 0.0 from -0.0."""
    return repr(header)


def test_every_field_comes_back() -> None:
    made = headers()
    packed = Headers(made)
    assert len(packed) == len(made) and bool(packed) and not Headers()
    assert [exactly(one) for one in packed] == [exactly(one) for one in made]
    assert [exactly(packed[place]) for place in range(-len(made), 0)] == [exactly(one) for one in made]
    assert packed == made and packed != made[1:] and packed[250:] == made[250:]
    for place in (len(made), -len(made) - 1):
        with pytest.raises(IndexError):
            packed[place]


def test_a_segmentation_is_kept_as_it_is() -> None:
    kind = SegmentationType.BINARY
    said = Segmentation(kind, 1, (), (), frozenset({"1.2"}), frozenset(), frozenset(), ())
    header = replace(headers()[0], segmentation=said)
    assert Headers([header])[0] is header


def test_a_header_that_comes_back_is_one_of_its_own() -> None:
    made = headers()
    packed = Headers(made)
    first, again = packed[0], packed[0]
    assert first == again == made[0] and first is not again and hash(first) == hash(made[0])
    with pytest.raises(FrozenInstanceError):
        first.rows = 3  # type: ignore[misc]
    assert exactly(pickle.loads(pickle.dumps(first))) == exactly(made[0])
    assert replace(first, sop="other").sop == "other" and packed[0].sop == made[0].sop


def test_a_choice_of_a_choice() -> None:
    made = headers()
    packed = Headers(made)
    places = without(len(made), {0, 3, 258})
    some = chosen(packed, places)
    assert list(some) == [one for place, one in enumerate(made) if place not in {0, 3, 258}]
    assert list(chosen(some, [5, 2])) == [some[5], some[2]]
    assert chosen(tuple(made), [5, 2]) == (made[5], made[2])
    assert list(joined(some, (made[0],))) == [*some, made[0]]
    with pytest.raises(ValueError, match="choice"):
        some.append(made[0])  # type: ignore[attr-defined]


def test_a_slice_takes_few_bytes() -> None:
    count = 40_000
    names = [file.source for file in make_files(count)]
    tracemalloc.start()
    try:
        packed = Headers(replace(make_header(name), private=PrivateDetails()) for name in names)
        held, _ = tracemalloc.get_traced_memory()
        assert len(packed) == count
    finally:
        tracemalloc.stop()
    own = sum(len(name) for name in (packed[0].source, packed[0].sop or ""))
    assert held / count < 120 + own, f"{held / count:.0f} bytes for each of {count} headers"


def test_headers_of_known_files_keep_no_path() -> None:
    """The same headers, also beside such whose files are not known, in a choice, and where a header is kept whole; fewer bytes."""
    made = headers()
    files = SourceFiles([InputFile("before", 1, 2), *(InputFile(one.source, 3, 4) for one in made)])
    packed = Headers(made[:2], files)
    for place, header in enumerate(made[2:], 3):
        packed.append(header, place if place % 5 else None)
    assert [exactly(one) for one in packed] == [exactly(one) for one in made]
    assert [one.source for one in chosen(packed, [4, 0, 7])] == [made[place].source for place in (4, 0, 7)]
    count = 4_000
    known = SourceFiles(make_files(count))
    held = []
    for told in (False, True):
        tracemalloc.start()
        try:
            many = Headers(files=known)
            for place in range(count):
                many.append(
                    replace(make_header(known.source(place)), private=PrivateDetails()), place if told else None
                )
            held.append(tracemalloc.get_traced_memory()[0] / count)
            assert many[count - 1].source == known.source(count - 1)
        finally:
            tracemalloc.stop()
    assert held[0] - held[1] > len(known.source(0)), held


def test_files_are_found_by_name(tmp_path: Path) -> None:
    for name in ("a.dcm", "a/x.dcm", "a/b/y.dcm", "a-b/z", "b\udce9", "zz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    seen = list(walk(tmp_path))
    files = SourceFiles(seen)
    assert list(files) == seen and files[1:3] == seen[1:3] and files[-1] == seen[-1]
    assert [files.find(file.source) for file in seen] == seen
    assert [files.source(place) for place in range(len(files))] == [file.source for file in seen]
    assert files.find("a") is None and files.find("zzz") is None and SourceFiles().find("a") is None


def test_files_out_of_order_are_found_too() -> None:
    """A folder that cannot be read is listed by its own name, behind files that its content would stand behind."""
    names = ["a.dcm", "b", "a", "c", "a/x", "d", "0"]
    files = SourceFiles(InputFile(name, number, -number) for number, name in enumerate(names))
    assert [file.source for file in files] == names
    for number, name in enumerate(names):
        assert files.find(name) == InputFile(name, number, -number)
    assert files.find("bb") is None


def test_places_of_single_frames_need_no_memory() -> None:
    alone = places_of([[number] for number in range(1000)])
    assert isinstance(alone, Lazy) and list(alone) == [(number,) for number in range(1000)]
    assert sys.getsizeof(alone) < 1000
    assert places_of([[1], [0]]) == ((1,), (0,)) and places_of([[0, 1]]) == ((0, 1),) and places_of([[-1]]) == ((-1,),)


def test_lazy_things_are_made_when_they_are_asked_for() -> None:
    made: list[int] = []

    def make(place: int) -> int:
        made.append(place)
        return place * place

    squares = Lazy(5, make)
    assert not made and squares[2] == 4 and squares[2] == 4 and made == [2], "the last one is kept"
    assert list(squares) == [0, 1, 4, 9, 16] and squares[-1] == 16 and squares[1:3] == [1, 4]
    assert squares == [0, 1, 4, 9, 16] and squares != [0, 1, 4, 9] and squares != [0, 1, 4, 9, 17]
    assert np.array(without(4, [])).tolist() == [0, 1, 2, 3]
    with pytest.raises(IndexError):
        squares[5]
