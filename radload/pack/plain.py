"""Frozen dataclasses as JSON and back, exactly: how shard jobs lie in the private folder. No pickle: no file says what code runs."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def dumps(value: Any) -> bytes:
    """JSON of a dataclass that holds None, bool, int, float, str (with surrogates), Path, Enum, tuples, frozensets, mappings and
    dataclasses; names of fields are left out.

    Raises:
        TypeError: it holds something else.
    """
    return json.dumps(_plain(value), separators=(",", ":")).encode()  # ASCII: undecodable bytes of names are \udcXX


def loads(kind: type[T], content: bytes) -> T:
    """What `dumps` made of an instance of `kind`.

    Raises:
        ValueError: it was made of something else.
    """
    try:
        made: T = _made(kind, json.loads(content))
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from None
    return made


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(item)] for key, item in value.items()]
    if is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    raise TypeError(f"a {type(value).__name__} cannot be written: add it to radload.pack.plain")


@cache
def _hints(kind: type[Any]) -> list[Any]:
    """Annotations of a dataclass's fields, in their order."""
    hints = get_type_hints(kind)
    return [hints[field.name] for field in fields(kind)]


def _made(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return None if value is None else _made(kinds[0], value)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in parts:
            raise TypeError(f"{value!r} is none of {parts}")
        return value
    if origin is tuple:
        each = [parts[0]] * len(value) if parts[1:] == (Ellipsis,) else parts
        return tuple(_made(part, item) for part, item in _pairs(each, value))
    if origin is frozenset:
        return frozenset(_made(parts[0], item) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {_made(parts[0], key): _made(parts[1], item) for key, item in value}
    if is_dataclass(hint) and isinstance(hint, type):
        return hint(*(_made(part, item) for part, item in _pairs(_hints(hint), value)))
    if issubclass(hint, Enum):
        return hint[value]
    if hint is Path:
        return Path(value)
    if not isinstance(value, (int, float) if hint is float else hint):  # an int is a fine float, and stays one
        raise TypeError(f"{type(value).__name__} in place of {hint.__name__}")
    return value


def _pairs(hints: Any, values: Any) -> Any:
    if len(hints) != len(values):
        raise TypeError(f"{len(values)} values in place of {len(hints)}")
    return zip(hints, values, strict=True)
