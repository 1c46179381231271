"""Values of annotated dataclass fields as Arrow values, and back: the type, and both ways, follow from the annotation alone."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from radload.pack.privacy import printable

_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Kind:
    """An Arrow type, and how a value becomes one that Arrow takes, and itself again."""

    type: pa.DataType
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def kind_of(hint: Any) -> Kind:
    """The kind of an annotation: str, int, float, bool, date, an Enum (its name), tuples and frozensets of one type (a list), tuples of
    several, dataclasses (a struct), and any of them or None.

    Raises:
        TypeError: another one.
    """
    if isinstance(hint, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        if len(kinds) == 1:
            return _optional(kind_of(kinds[0]))
    elif get_origin(hint) is tuple:
        parts = [part for part in get_args(hint) if part is not Ellipsis]
        if parts and all(part == parts[0] for part in parts):
            return _list(kind_of(parts[0]), tuple)
        if parts:
            return _struct({str(place): kind_of(part) for place, part in enumerate(parts)}, tuple)
    elif get_origin(hint) is frozenset:
        return _list(kind_of(get_args(hint)[0]), frozenset)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        return Kind(pa.string(), lambda value: value.name, lambda name: hint[name])
    elif isinstance(hint, type) and is_dataclass(hint):
        names = [field.name for field in fields(hint)]
        hints = get_type_hints(hint)
        return _struct({name: kind_of(hints[name]) for name in names}, lambda values: hint(*values))
    elif hint in _PLAIN:
        return _PLAIN[hint]
    raise TypeError(f"no column type is known for the annotation {hint}: add it to radload.pack.arrow_kinds")


def text(value: str) -> str:
    """Valid Unicode, whatever the file's bytes were."""
    if value.isascii():
        return value
    try:
        return printable(value)
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()


def _whole(value: int) -> int | None:
    return value if -_INT64 <= value < _INT64 else None


def _same(value: Any) -> Any:
    return value


_PLAIN: dict[Any, Kind] = {
    str: Kind(pa.string(), text, _same),
    int: Kind(pa.int64(), _whole, _same),
    float: Kind(pa.float64(), _same, _same),
    bool: Kind(pa.bool_(), _same, _same),
    date: Kind(pa.date32(), _same, _same),
}


def _optional(kind: Kind) -> Kind:
    return Kind(
        kind.type,
        lambda value: None if value is None else kind.encode(value),
        lambda value: None if value is None else kind.decode(value),
    )


def _list(kind: Kind, collection: Callable[[Any], Any]) -> Kind:
    def encode(values: Any) -> list[Any]:
        ordered = sorted(values) if isinstance(values, frozenset) else values
        return [kind.encode(value) for value in ordered]

    return Kind(pa.list_(kind.type), encode, lambda values: collection([kind.decode(value) for value in values]))


def _struct(kinds: dict[str, Kind], make: Callable[[Any], Any]) -> Kind:
    def encode(value: Any) -> dict[str, Any]:
        parts = value if isinstance(value, tuple) else [getattr(value, name) for name in kinds]
        return {name: kind.encode(part) for (name, kind), part in zip(kinds.items(), parts, strict=True)}

    def decode(value: dict[str, Any]) -> Any:
        return make([kind.decode(value[name]) for name, kind in kinds.items()])

    return Kind(pa.struct([(name, kind.type) for name, kind in kinds.items()]), encode, decode)
