"""Long sequences in few bytes: files, headers and jobs of ten million images are made when they are asked for, not held as objects."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from radload.pack.scan import InputFile
from radload.pack.texts import Paths, Texts, Uids
from radload.sources import Header

T = TypeVar("T")


class Lazy(Sequence[T], Generic[T]):
    """`count` things, each made by `make` when it is asked for; the last one is kept."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make
        self._last: tuple[int, T] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._count))]
        number = _inside(place, self._count)
        last = self._last
        if last is None or last[0] != number:
            last = self._last = number, self._make(number)
        return last[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list's


class SourceFiles(Sequence[InputFile]):
    """The files of a walk, 28 bytes beside their names; a folder has its name once."""

    def __init__(self, files: Iterable[InputFile] = ()) -> None:
        self._sources, self._sizes, self._modified = Paths(), array("q"), array("q")
        self._ordered: array[int] | None = None  # places of the files in order of their names; None: all of them
        last = b""
        for place, file in enumerate(files):
            self._sources.append(file.source)
            self._sizes.append(file.size)
            self._modified.append(file.modified)
            name = self._sources.raw(place)
            if place and name < last:  # a folder that cannot be read stands where its files would
                self._ordered = array("q", range(place)) if self._ordered is None else self._ordered
                self._ordered.insert(bisect_left(self._ordered, name, key=self._name), place)
                continue
            last = name
            if self._ordered is not None:
                self._ordered.append(place)

    def _name(self, place: int) -> bytes:
        return self._sources.raw(place)

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, place: int) -> InputFile: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[InputFile]: ...
    def __getitem__(self, place: int | slice) -> InputFile | Sequence[InputFile]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = _inside(place, len(self))
        return InputFile(self._sources[number], self._sizes[number], self._modified[number])

    def source(self, place: int) -> str:
        """The name of a file."""
        return self._sources[place]

    def find(self, source: str) -> InputFile | None:
        """The file of a name, None where there is none."""
        name = source.encode("utf-8", "surrogateescape")
        order: Sequence[int] = range(len(self)) if self._ordered is None else self._ordered
        at = bisect_left(order, name, key=self._name)
        found = at < len(order) and self._sources.raw(order[at]) == name
        return self[order[at]] if found else None


_NAMES: Final = tuple(field.name for field in fields(Header))
_VALUES: Final = attrgetter(*_NAMES)
_SOURCE, _SOP, _POSITIONS, _INSTANCE, _PHASES, _ORIGINS, _NORMAL, _SEGMENTATION = map(
    _NAMES.index, ("source", "sop", "positions", "instance", "phases", "origins", "normal", "segmentation")
)
_HAS_SOP, _HAS_POSITION, _HAS_INSTANCE, _HAS_ORIGIN = 1, 2, 4, 8
_WHOLE: Final = -1  # in place of a number of a template: a header that is kept as it is
_INT64: Final = range(-(1 << 63), 1 << 63)


class _Store:
    """What `Headers` share: a slice has a template, which is what the slices of its series have in common, and numbers of its own."""

    def __init__(self, files: Sequence[InputFile]) -> None:
        self.source = files.source if isinstance(files, SourceFiles) else lambda place: files[place].source
        self.name = array("q")  # where the source stands: place among `files`, or, inverted, among `sources`
        self.sources, self.sops = Texts(), Uids()
        self.template, self.flags, self.phases = array("i"), array("B"), array("i")
        self.position, self.origin, self.instance = array("d"), array("d"), array("q")
        self.templates: list[dict[str, Any]] = []
        self.all_phases: list[Any] = []
        self.whole: dict[int, Header] = {}
        self._template_of: dict[Any, int] = {}
        self._phases_of: dict[Any, int] = {}

    def append(self, header: Header, place: int | None) -> None:
        values = list(_VALUES(header))
        if not _fits(values):
            self.whole[len(self.template)] = header
            values = list(_VALUES(Header("", "", 0, 0, 0, 0, 0, header.attributes)))
        sop, position, origin = values[_SOP], values[_POSITIONS], values[_ORIGINS]
        instance, phases = values[_INSTANCE], values[_PHASES]
        if place is None:
            self.name.append(~len(self.sources))
            self.sources.append(values[_SOURCE])
        else:
            self.name.append(place)
        self.sops.append(sop or "")
        self.flags.append(
            _HAS_SOP * (sop is not None)
            | _HAS_POSITION * (position is not None)
            | _HAS_INSTANCE * (instance is not None)
            | _HAS_ORIGIN * (origin is not None)
        )
        self.position.append(position[0] if position is not None else 0.0)
        self.origin.extend(origin[0] if origin is not None else (0.0, 0.0, 0.0))
        self.instance.append(instance or 0)
        self.phases.append(_number_of(phases, phases, self._phases_of, self.all_phases))
        values[_SOURCE], values[_SOP], values[_POSITIONS] = "", None, None
        values[_ORIGINS], values[_INSTANCE], values[_PHASES] = None, None, None
        if len(self.template) in self.whole:
            self.template.append(_WHOLE)
            return
        key = tuple(values), _signs(values[_NORMAL])
        number = self._template_of.setdefault(key, len(self.templates))
        if number == len(self.templates):
            self.templates.append(dict(zip(_NAMES, values, strict=True)))
        self.template.append(number)

    def __getitem__(self, place: int) -> Header:
        template = self.template[place]
        if template == _WHOLE:
            return self.whole[place]
        header: Header = object.__new__(Header)
        values, flags = header.__dict__, self.flags[place]
        values.update(self.templates[template])
        name = self.name[place]
        values["source"] = self.sources[~name] if name < 0 else self.source(name)
        values["phases"] = self.all_phases[self.phases[place]]
        if flags & _HAS_SOP:
            values["sop"] = self.sops[place]
        if flags & _HAS_POSITION:
            values["positions"] = (self.position[place],)
        if flags & _HAS_INSTANCE:
            values["instance"] = self.instance[place]
        if flags & _HAS_ORIGIN:
            values["origins"] = (tuple(self.origin[3 * place : 3 * place + 3]),)
        return header


class Headers(Sequence[Header]):
    """Headers, of which a slice of a series takes some 100 bytes beside its instance UID, and its path where it is of no known file.

    Files of several frames, and segmentations, are held as they are.
    """

    def __init__(self, headers: Iterable[Header] = (), files: Sequence[InputFile] = ()) -> None:
        """files: what `append` may tell a header's source by; they are kept, not copied."""
        self._store = _Store(files)
        self._places: NDArray[np.int64] | None = None  # None: all
        for header in headers:
            self._store.append(header, None)

    def append(self, header: Header, place: int | None = None) -> None:
        """Add a header to those that were made together; place: of its source among the files."""
        if self._places is not None:
            raise ValueError("these headers are a choice of others")
        self._store.append(header, place)

    def take(self, places: NDArray[np.int64]) -> Headers:
        """Those at `places`, which share their memory with these."""
        found = Headers()
        found._store = self._store
        found._places = places if self._places is None else self._places[places]
        return found

    def __len__(self) -> int:
        return len(self._store.template) if self._places is None else len(self._places)

    @overload
    def __getitem__(self, place: int) -> Header: ...
    @overload
    def __getitem__(self, place: slice) -> Headers: ...
    def __getitem__(self, place: int | slice) -> Header | Headers:
        if isinstance(place, slice):
            return self.take(np.arange(*place.indices(len(self)), dtype=np.int64))
        number = _inside(place, len(self))
        return self._store[number if self._places is None else int(self._places[number])]

    def __iter__(self) -> Iterator[Header]:
        return map(self._store.__getitem__, range(len(self)) if self._places is None else map(int, self._places))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]  # as a list's


def chosen(headers: Sequence[Header], places: Sequence[int] | NDArray[np.int64]) -> Sequence[Header]:
    """The headers at `places`, in as few bytes as `headers` have."""
    if isinstance(headers, Headers):
        return headers.take(np.array(places, np.int64))
    return tuple(headers[int(place)] for place in places)


def without(count: int, places: Iterable[int]) -> NDArray[np.int64]:
    """0 to `count` - 1, without `places`."""
    left = np.ones(count, np.bool_)
    left[np.fromiter(places, np.int64)] = False
    return np.flatnonzero(left)


def joined(first: Sequence[T], second: Sequence[T]) -> Sequence[T]:
    """Both, one after the other; neither is copied."""
    count = len(first)
    return Lazy(count + len(second), lambda place: first[place] if place < count else second[place - count])


def _inside(place: int, count: int) -> int:
    if not -count <= place < count:
        raise IndexError(f"place {place} of {count}")
    return place % count


def _same(one: object, other: object) -> bool:
    return one == other


def _number_of(key: Any, value: Any, numbers: dict[Any, int], values: list[Any]) -> int:
    number = numbers.setdefault(key, len(values))
    if number == len(values):
        values.append(value)
    return number


def _signs(normal: tuple[float, ...] | None) -> tuple[bool, ...]:
    """What tells 0.0 and -0.0 apart, which are equal."""
    return () if normal is None else tuple([math.copysign(1.0, value) < 0 for value in normal if value == 0.0])


def _fits(values: Sequence[Any]) -> bool:
    """Whether a header's own numbers are those of one frame, and of the types that come back."""
    sop, position, origin, instance = values[_SOP], values[_POSITIONS], values[_ORIGINS], values[_INSTANCE]
    return (
        values[_SEGMENTATION] is None
        and (sop is None or sop.isascii())
        and (position is None or (len(position) == 1 and type(position[0]) is float))
        and (origin is None or (len(origin) == 1 and all(type(value) is float for value in origin[0])))
        and (instance is None or instance in _INT64)
    )
