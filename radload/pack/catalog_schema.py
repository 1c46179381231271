"""The columns of the catalog, and the way from what a scan says about a file to a row and back.

The columns are derived from the fields of `Header`, `SeriesAttributes` and `PrivateDetails`: a field added there is a column here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias, get_type_hints

import numpy as np
import pyarrow as pa

from radload.pack.arrow_kinds import kind_of, text
from radload.pack.compact import Headers
from radload.pack.privacy import printable
from radload.pack.scan import Catalog, InputFile, Reject
from radload.sources import Header, PartOf, PrivateDetails, SeriesAttributes

Outcome: TypeAlias = Header | Reject | PartOf | None  # of the scan of one file; None: ignored

IMAGE, PART, REJECTED, IGNORED = "image", "part", "rejected", "ignored"


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a column's value stands in a header, its Arrow type, and how a value gets there and back."""

    name: str
    where: str  # "", "attributes" or "private"
    type: pa.DataType
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _column(name: str, where: str, hint: Any) -> _Column:
    kind = kind_of(hint)
    return _Column(name, where, kind.type, kind.encode, kind.decode)


def _columns(kind: type[Any], where: str, without: Sequence[str] = ()) -> list[_Column]:
    hints = get_type_hints(kind)
    return [_column(field.name, where, hints[field.name]) for field in fields(kind) if field.name not in without]


_COLUMNS: Final = (
    *_columns(Header, "", ("source", "attributes", "private")),
    *_columns(SeriesAttributes, "attributes"),
    *_columns(PrivateDetails, "private"),
)
_OWN: Final = (
    pa.field("row", pa.int64()),  # from 0, in order of name
    pa.field("source", pa.string()),
    pa.field("size", pa.int64()),
    pa.field("modified", pa.int64()),  # nanoseconds since 1970
    pa.field("status", pa.string()),
    pa.field("code", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("part_of", pa.string()),
    pa.field("position_min", pa.float64()),
    pa.field("position_max", pa.float64()),
)
SCHEMA: Final = pa.schema([*_OWN, *(pa.field(column.name, column.type) for column in _COLUMNS)])


def encode(files: Sequence[InputFile], outcomes: Sequence[Outcome]) -> pa.RecordBatch:
    """Rows of `files`, in their order; `row` is null, and a part is a `part`, until the catalog is whole."""
    count = len(files)
    images = [outcome if isinstance(outcome, Header) else None for outcome in outcomes]
    rejects = [outcome if isinstance(outcome, Reject) else None for outcome in outcomes]
    ends = [
        (min(image.positions), max(image.positions)) if image is not None and image.positions else (None, None)
        for image in images
    ]
    values: dict[str, list[Any]] = {
        "row": [None] * count,
        "source": [printable(file.source) for file in files],
        "size": [file.size for file in files],
        "modified": [file.modified for file in files],
        "status": [_status(outcome) for outcome in outcomes],
        "code": [None if reject is None else reject.code for reject in rejects],
        "reason": [None if reject is None else text(reject.reason) for reject in rejects],
        "part_of": [printable(outcome.source) if isinstance(outcome, PartOf) else None for outcome in outcomes],
        "position_min": [low for low, _ in ends],
        "position_max": [high for _, high in ends],
    }
    for column in _COLUMNS:
        holders = [getattr(image, column.where) if column.where and image is not None else image for image in images]
        values[column.name] = [
            None if holder is None else column.encode(getattr(holder, column.name)) for holder in holders
        ]
    return pa.RecordBatch.from_arrays(
        [pa.array(values[field.name], field.type) for field in SCHEMA],
        schema=SCHEMA,
    )


def _status(outcome: Outcome) -> str:
    if isinstance(outcome, Header):
        return IMAGE
    return REJECTED if isinstance(outcome, Reject) else PART if isinstance(outcome, PartOf) else IGNORED


def decode(
    batches: Iterator[pa.RecordBatch],
    files: Sequence[InputFile],
    change: Callable[[Header], Header] = lambda header: header,
) -> Catalog:
    """The catalog of `files`, whose rows are `batches`, in the same order; headers come without private details, and as `change` makes
    them."""
    exact = {printable(file.source): file.source for file in files if not file.source.isascii()}
    headers = Headers(files=files)
    rows = array("q")
    rejects: list[Reject] = []
    ignored = start = 0
    public = [column for column in _COLUMNS if column.where != "private"]
    for batch in batches:
        shared = _Shared()
        status, code, reason = (batch.column(name).to_pylist() for name in ("status", "code", "reason"))
        places = [place for place, said in enumerate(status) if said == IMAGE]
        chosen = batch.take(pa.array(places, pa.int64()))
        columns = {
            column.name: [shared.text(column.decode(v)) for v in chosen.column(column.name).to_pylist()]
            for column in public
        }
        for number, place in enumerate(places):
            rows.append(start + place)
            header = change(_header(files[start + place].source, columns, number, exact, shared))
            headers.append(header, start + place)
        for place, said in enumerate(status):
            if said == REJECTED:
                rejects.append(
                    Reject(files[start + place].source, None, shared.text(code[place]), shared.text(reason[place]))
                )
            ignored += said == IGNORED
        start += len(status)
    return Catalog(headers, tuple(rejects), ignored, np.array(rows, np.int64))


class _Shared:
    """Equal texts and series attributes as one object: a series has hundreds of slices, and makes them once."""

    def __init__(self) -> None:
        self._texts: dict[str | tuple[str, ...], Any] = {}
        self._attributes: dict[SeriesAttributes, SeriesAttributes] = {}

    def text(self, value: Any) -> Any:
        """`value`, or what equals it; texts and tuples of texts only, because numbers that are equal may differ in type."""
        texts = isinstance(value, str) or (type(value) is tuple and all(isinstance(item, str) for item in value))
        return self._texts.setdefault(value, value) if texts else value

    def attributes(self, value: SeriesAttributes) -> SeriesAttributes:
        """`value`, or what equals it."""
        return self._attributes.setdefault(value, value)


_TOP: Final = [column.name for column in _COLUMNS if not column.where]
_ATTRIBUTES: Final = [column.name for column in _COLUMNS if column.where == "attributes"]


def _header(
    source: str, columns: Mapping[str, Sequence[Any]], number: int, exact: Mapping[str, str], shared: _Shared
) -> Header:
    values = {name: columns[name][number] for name in _TOP}
    values["parts"] = tuple(exact.get(part, part) for part in values["parts"])
    attributes = shared.attributes(SeriesAttributes(**{name: columns[name][number] for name in _ATTRIBUTES}))
    return Header(source=source, attributes=attributes, **values)
