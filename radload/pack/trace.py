"""`radload trace`: from a key, a row or a reject back to the file it came from, for whoever has the private folder."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from radload.dataset.files import atomic_file
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.schema import KEY_DIGITS, key_text
from radload.errors import UsageError
from radload.pack.private import check_private, default_private
from radload.pack.workspace import CROSSWALK, REJECTS

_KEY: Final = re.compile(rf"\d{{{KEY_DIGITS}}}")
_REJECT: Final = re.compile(r"reject:(\d+)")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a sample, or a reject, comes from; None where it has no such thing.

    Attributes:
        asked: the target as given; row: of the index, or of rejects.parquet; key: of the sample.
        source: path below the source folder; frame: in the file, from 0 (None: the whole file).
        patient, study, series, sop, accession: as the source has them. code, reason: why it was not packed.
    """

    asked: str
    row: int | None = None
    key: str | None = None
    source: str | None = None
    frame: int | None = None
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    sop: str | None = None
    accession: str | None = None
    code: str | None = None
    reason: str | None = None


def trace(root: Path, targets: Sequence[str], private: Path | None = None, sources: str | None = None) -> list[Trace]:
    """Look up `targets`, in their order, then everything whose source matches the pattern `sources`.

    Args:
        root: the data set. Rows need its index; keys, rejects and sources need the private folder alone.
        targets: keys (12 digits), rows of the index (fewer digits, as in `ds[42]` and `batch["index"]`), or "reject:N", rows of
            rejects.parquet.
        private: private folder; None: `<root>.private`.
        sources: pattern with *, ? and [] for paths below the source folder: packed samples and rejects.

    Raises:
        UsageError: no private folder, one of other shards, or a target that is not there.
    """
    folder = private or default_private(root)
    check_private(root, folder)
    keys = {target: _key_of(root, target) for target in targets if not _REJECT.fullmatch(target)}
    samples = _samples(folder, sorted(set(keys.values())))
    wanted = any(_REJECT.fullmatch(target) for target in targets) or sources is not None
    rejects = _read(folder / REJECTS).to_pylist() if wanted else []
    found = []
    for target in targets:
        if match := _REJECT.fullmatch(target):
            found.append(_reject(target, int(match[1]), rejects))
        elif keys[target] in samples:
            found.append(Trace(target, **samples[keys[target]]))
        else:
            raise UsageError(
                f"key {keys[target]} is not in {folder / CROSSWALK}: the sample was rejected (its file is in {REJECTS}: --source PATTERN "
                "finds it), or the folder is of other shards"
            )
    if sources is not None:
        found += _by_source(folder, sources, rejects)
        if len(found) == len(targets):
            raise UsageError(
                f"--source {sources!r} matches no packed sample and no reject: patterns are relative to --src"
            )
    return found


def read_keys(path: Path) -> list[str]:
    """Targets from a file: one per line, or the column `key` of a CSV file.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--keys {path} cannot be read ({type(error).__name__}): give a text file of keys") from None
    lines = [row for row in csv.reader(io.StringIO(text)) if row and row[0].strip()]
    column = 0
    if lines and "key" in (names := [name.strip().lower() for name in lines[0]]):
        column, lines = names.index("key"), lines[1:]
    found = [row[column].strip() for row in lines if len(row) > column]
    if not found:
        raise UsageError(f"--keys {path} holds no key: give one per line, or a CSV file with a column `key`")
    return found


def write_csv(path: Path, traces: Iterable[Trace], root: Path) -> None:
    """Write `traces` as CSV, mode 0600: it names patients.

    Raises:
        UsageError: it would lie inside the shards, or cannot be written.
    """
    if root.resolve() in path.resolve().parents:
        raise UsageError(f"--csv {path} lies inside the shards, and it names patients: give a place outside of {root}")
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Trace)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in traces)
    try:
        with atomic_file(path, 0o600) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise UsageError(f"--csv {path} cannot be written ({error.strerror}): give another place") from None


def _key_of(root: Path, target: str) -> str:
    """The key that a target, a key or a row of the index, stands for."""
    if _KEY.fullmatch(target):
        return target
    if not target.isdecimal() or len(target) > KEY_DIGITS:
        raise UsageError(
            f"{target!r} is no sample: give a key ({KEY_DIGITS} digits), a row of the index, or reject:N, a row of {REJECTS}"
        )
    keys = open_index(root, read_manifest(root)).records["key"]
    if int(target) >= len(keys):
        raise UsageError(
            f"there is no row {target} in {root}: it has {len(keys):,} samples; keys have {KEY_DIGITS} digits"
        )
    return key_text(int(keys[int(target)]))


def _read(path: Path, **options: Any) -> pa.Table:
    """The columns that a `Trace` has of a table of the private folder."""
    try:
        known = {field.name for field in fields(Trace)}
        return pq.read_table(path, columns=[name for name in pq.read_schema(path).names if name in known], **options)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}): restore the private folder from a copy"
        ) from None


def _samples(folder: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Rows of the crosswalk by key; row groups that hold none of `keys` are not read."""
    if not keys:
        return {}
    return {row["key"]: row for row in _read(folder / CROSSWALK, filters=[("key", "in", list(keys))]).to_pylist()}


def _reject(target: str, row: int, rejects: Sequence[dict[str, Any]]) -> Trace:
    if row >= len(rejects):
        raise UsageError(f"there is no {target}: {REJECTS} has {len(rejects):,} rows, counted from 0")
    return Trace(target, row=row, **rejects[row])


def _by_source(folder: Path, pattern: str, rejects: Sequence[dict[str, Any]]) -> list[Trace]:
    crosswalk = _read(folder / CROSSWALK)
    names = crosswalk.column("source").to_pylist()
    known = {name: fnmatchcase(name, pattern) for name in set(names)}
    chosen = crosswalk.filter(pa.array([known[name] for name in names], pa.bool_())).to_pylist()
    found = [Trace(pattern, **row) for row in chosen]
    return found + [
        Trace(pattern, row=row, **reject)
        for row, reject in enumerate(rejects)
        if fnmatchcase(reject["source"], pattern)
    ]
