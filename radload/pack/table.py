"""CSV files about the input: one key column that says what a row is about, and columns with values (labels, splits, patients)."""

from __future__ import annotations

import csv
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

from radload.errors import UsageError
from radload.sources.slice import Header


@dataclass(frozen=True, slots=True)
class Identity:
    """All names under which a table may know an input file or a sample; None where it has none."""

    path: str | None = None  # relative to the source folder, POSIX separators
    patient: str | None = None
    study: str | None = None
    accession: str | None = None
    series: str | None = None
    sop: str | None = None
    key: str | None = None  # of a packed sample


KEY_COLUMNS = tuple(field.name for field in fields(Identity))
_ALIASES = MappingProxyType(
    {
        "filename": "path",
        "file": "path",
        "patientid": "patient",
        "patient_id": "patient",
        "studyinstanceuid": "study",
        "accessionnumber": "accession",
        "seriesinstanceuid": "series",
        "sopinstanceuid": "sop",
    }
)


def identity_of(header: Header, patient: str | None) -> Identity:
    """The names of an input file; `patient` is what the rule for patients made of it."""
    return Identity(header.source, patient, header.study, header.accession, header.series, header.sop)


def normal_id(text: str) -> str:
    """An identifier as it is compared: Unicode NFKC, no white space around."""
    return unicodedata.normalize("NFKC", text).strip()


@dataclass(frozen=True, slots=True)
class KeyedTable:
    """A CSV file by its key column.

    Attributes:
        key: which of KEY_COLUMNS; rows: key -> row; values: column -> value per row; lines: line in the file per row.
    """

    path: Path
    key: str
    rows: dict[str, int]
    values: dict[str, list[str]]
    lines: Sequence[int]

    def find(self, identity: Identity) -> int | None:
        """The row about `identity`; for a path the row of the file itself, or else of the nearest folder above it."""
        name = getattr(identity, self.key)
        if name is None:
            return None
        if self.key != "path":
            return self.rows.get(_normal(self.key, name))
        path = _normal("path", name)
        while path:
            row = self.rows.get(path)
            if row is not None:
                return row
            path = path.rpartition("/")[0]
        return self.rows.get("")  # the source folder itself, given as "."

    def find_all(self, identities: Iterable[Identity]) -> list[int | None]:
        """`find` for each."""
        return [self.find(identity) for identity in identities]


def read_table(path: Path, option: str, columns: Sequence[str] | None = None) -> KeyedTable:
    """Read a CSV file with a header row.

    Args:
        option: what the user called the file, for messages.
        columns: the value columns wanted; None: all besides the key column.

    Raises:
        UsageError: no such file, no key column or two, a wanted column absent, or two rows that say different things about one key.
    """
    records = _read_rows(path, option)
    _, names = next(records)
    position, key = _key_column(names, path, option, columns or ())
    wanted = [name for i, name in enumerate(names) if i != position] if columns is None else list(columns)
    lowered = [name.lower() for name in names]
    for name in wanted:
        if name.lower() not in lowered:
            raise UsageError(f"{option} {path} has no column {name}: its header is {', '.join(names)}")
    if not wanted:
        raise UsageError(f"{option} {path} has a key column and nothing else: add a column with values")
    places = [lowered.index(name.lower()) for name in wanted]
    rows: dict[str, int] = {}
    kept: list[list[str]] = [[] for _ in wanted]  # by column
    lines = array("q")
    once: dict[str, str] = {}  # equal values as one text: a column of labels has few
    for line, record in records:
        name = _normal(key, record[position])
        values = [record[place].strip() for place in places]
        before = rows.setdefault(name, len(lines))
        if before == len(lines):
            for column, value in zip(kept, values, strict=True):
                column.append(once.setdefault(value, value))
            lines.append(line)
        elif [column[before] for column in kept] != values:
            raise UsageError(
                f"{option} {path} says different things about one {key} in lines {lines[before]} and {line}: keep one of them"
            )
    if not lines:
        raise UsageError(f"{option} {path} holds no rows: give a CSV file with a header and at least one row")
    return KeyedTable(path, key, rows, dict(zip(wanted, kept, strict=True)), lines)


def key_column(path: Path, option: str) -> str:
    """Which of KEY_COLUMNS a CSV file has. Raises UsageError like `read_table`."""
    return _key_column(next(_read_rows(path, option))[1], path, option, ())[1]


def _key_column(names: Sequence[str], path: Path, option: str, values: Sequence[str]) -> tuple[int, str]:
    """(position, which of KEY_COLUMNS); the columns `values` are none."""
    known = [(i, _ALIASES.get(name.lower(), name.lower())) for i, name in enumerate(names)]
    keys = [(i, name) for i, name in known if name in KEY_COLUMNS and name not in values]
    if len(keys) != 1:
        found = " and ".join(name for _, name in keys) or "none"
        raise UsageError(
            f"{option} {path} needs one key column, and has {found}: call one of its columns {', '.join(KEY_COLUMNS)}"
        )
    return keys[0]


def _read_rows(path: Path, option: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields): the header, then each record that is not blank, of the header's length."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            if not names:
                raise UsageError(f"{option} {path} holds no rows: give a CSV file with a header and at least one row")
            yield reader.line_num, names
            for record in reader:
                if not any(field.strip() for field in record):
                    continue
                if len(record) != len(names):
                    raise UsageError(
                        f"{option} {path} has {len(record)} fields in line {reader.line_num}, its header {len(names)}: correct that line"
                    )
                yield reader.line_num, record
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read ({error.strerror}): give a CSV file that is there") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"{option} {path} is no CSV file in UTF-8: save it as one") from None


def _normal(key: str, text: str) -> str:
    if key == "path":
        parts = [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
        return "/".join(parts)
    if key == "key":
        return text.strip().lstrip("0") or "0"
    return normal_id(text)
