"""What `radload audit` prints: a table of the checks, what contradicts them, class balance, faces, and the verdict as the last line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from radload.audit.compare import compare
from radload.audit.faces import MAX_SPACING, MIN_SLICES
from radload.audit.proof import audit
from radload.audit.report import Audit, Balance, Check, Faces, Status, write_report
from radload.dataset.files import check_report
from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.inspect.tables import make_table
from radload.pack.privacy import PSEUDONYM_HEX

SHOWN = 10  # findings of a check, and series with faces, on the console; the JSON file has all
LOOKED_AT = 10_000  # findings that are put together by what they have in common
KEYS_SHOWN = 4
MAX_CLASSES = 60
_STYLES = {Status.HOLDS: "green", Status.FAILS: "bold red", Status.OPEN: "yellow"}


def run(shards: Path, other: Path | None, privates: Sequence[Path], report: Path | None) -> bool:
    """Audit one data set, or compare two; print, and write `report`. Returns whether the proof holds.

    Raises:
        UsageError: no data set, too many private folders, or a report that cannot be written.
        FormatError: another format version, or a damaged index or label set.
    """
    if len(privates) > (1 if other is None else 2):
        raise UsageError("--private is given too often: once for each data set, in their order")
    if report is not None:
        check_report("--json", report)
    one = privates[0] if privates else None
    result = audit(shards, one) if other is None else compare((shards, other), privates)
    if report is not None:
        try:
            write_report(report, result)
        except OSError as error:
            raise UsageError(f"--json {report} cannot be written ({error.strerror}): give another place") from None
    print_audit(Console(), result)
    return result.proven


def print_audit(console: Console, result: Audit) -> None:
    """Print everything, the verdict last."""
    table = Table(title="Checks", title_justify="left", title_style="bold", header_style="dim")
    table.add_column("claim")
    table.add_column("result")
    table.add_column("found", overflow="fold")
    for check in result.checks:
        table.add_row(
            Text(f"no {check.claim}"), Text(str(check.status), _STYLES[check.status]), Text(check.found or check.note)
        )
    console.print(table)
    for check in result.checks:
        if len(check.findings):
            _print_findings(console, check)
    if result.balance:
        _print_balance(console, result.balance)
    if result.faces is not None:
        _print_faces(console, result.faces)
    for note in result.notes:
        console.print(Text(f"note: {note}"))
    console.print(Text(result.verdict, _STYLES[Status.HOLDS if result.proven else Status.FAILS]), soft_wrap=True)


def _print_findings(console: Console, check: Check) -> None:
    """Findings that differ in keys only, such as the slices that two patients share, are one line."""
    console.print(Text(check.found, "bold"))
    alike: dict[str, tuple[int, dict[str, Any]]] = {}
    for finding in islice(check.findings, LOOKED_AT):
        rest = str({name: _without_keys(value) for name, value in finding.items() if name != "keys"})
        count, first = alike.get(rest, (0, finding))
        alike[rest] = (count + 1, first)
    lines = sorted(alike.values(), key=lambda line: -line[0])
    for count, finding in lines[:SHOWN]:
        many = f"{count:,} alike, the first: " if count > 1 else ""
        console.print(Text(f"  {many}{describe(finding)}"), soft_wrap=True)
    left = len(check.findings) - sum(count for count, _ in lines[:SHOWN])
    if left:
        console.print(Text(f"  and {left:,} more: --json FILE lists all"))


def _without_keys(value: Any) -> Any:
    return {name: one for name, one in value.items() if name != "keys"} if isinstance(value, dict) else value


def describe(finding: dict[str, Any]) -> str:
    """A finding on one line; long lists and pseudonyms are cut."""
    parts = []
    for name, value in finding.items():
        if name == "unknown_patients" and not value:
            continue
        if isinstance(value, dict) and "keys" in value:  # one side of two data sets
            parts.append(f"{name.upper()}: {describe(value)}")
        else:
            parts.append(f"{name.replace('_', ' ')} {_short(value)}")
    return "; ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - KEYS_SHOWN:,} more" if len(value) > KEYS_SHOWN else ""
        return " ".join(_short(one) for one in value[:KEYS_SHOWN]) + more
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value[:12]}…" if len(value) == PSEUDONYM_HEX else str(value)


def _print_balance(console: Console, balance: Sequence[Balance]) -> None:
    for labels in dict.fromkeys(row.labels for row in balance):
        mine = [row for row in balance if row.labels == labels]
        totals = [max(sum(row.samples[code] for row in mine), 1) for code in range(len(SPLITS))]
        table = make_table(
            f"Classes of label set {escape(labels)}: samples, share of the split", "class", *SPLITS, "patients"
        )
        for row in mine[:MAX_CLASSES]:
            shares = [f"{n:,} {n / total:>6.1%}" for n, total in zip(row.samples, totals, strict=True)]
            table.add_row(Text(row.name), *shares, f"{row.patients:,}")
        if len(mine) > MAX_CLASSES:
            table.add_row(f"and {len(mine) - MAX_CLASSES} more")
        console.print(table)


def _print_faces(console: Console, faces: Faces) -> None:
    if faces.series:
        table = make_table(
            "Series from which a face may be rebuilt (a heuristic)",
            "first key",
            "modality",
            "body part",
            "slices",
            "mm",
        )
        for row in faces.series[:SHOWN]:
            names = (Text(str(row["modality"])), Text(str(row["body_part"])))
            table.add_row(row["key"], *names, f"{row['slices']:,}", f"{row['slice_spacing']:g}")
        if len(faces.series) > SHOWN:
            table.add_row(f"{len(faces.series) - SHOWN:,} more")
        console.print(table)
    console.print(
        Text(
            f"faces: {len(faces.series):,} CT or MR series of the head with {MIN_SLICES} slices or more, at most {MAX_SPACING} mm apart; "
            f"of {faces.unknown_part:,} such series body part or modality is unknown; the slice spacing of {faces.unknown_spacing:,} "
            "head series is unknown (a heuristic: it goes by what headers say)"
        )
    )
