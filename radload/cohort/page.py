"""The files of a cohort page: cohort.md, flow.csv, table1.csv, class_by_scanner.csv, flow.png."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from radload.cohort.cohort import Cohort
from radload.cohort.counts import COLUMNS, SMALLEST, Count
from radload.cohort.flow import MEANINGS, flow_rows
from radload.cohort.picture import write_flow
from radload.cohort.scanners import ScannerRow
from radload.cohort.table_one import CountRow, Quartiles
from radload.dataset.files import atomic_file
from radload.errors import UsageError

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_NUMBERS = ("patients", "studies", "series", "samples")
_MAX_MODELS = 5  # of a class on the page; the CSV file has all


def write_page(cohort: Cohort, folder: Path) -> list[Path]:
    """Write the page into `folder`, made where it is not there; files of an earlier page are replaced.

    Raises:
        UsageError: it cannot be written.
    """
    texts = {
        "cohort.md": _markdown(cohort),
        "flow.csv": _csv(
            ("step", "reason", "number"), [(*row, number.replace(",", "")) for *row, number in flow_rows(cohort.flow)]
        ),
        "table1.csv": _csv(
            ("variable", "level", "split", *_NUMBERS, "median", "q1", "q3"),
            [*_count_cells((*cohort.table.rows, *cohort.table.classes)), *_quartile_cells(cohort.table.quartiles)],
        ),
        "class_by_scanner.csv": _csv(
            ("class", "kind", "scanner", "patients", "samples", "share"), map(_scanner_cells, cohort.scanners.rows)
        ),
    }
    try:
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            with atomic_file(folder / name) as file:
                file.write(text.encode())
        write_flow(cohort, folder / "flow.png")
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written ({error.strerror}): give another folder") from None
    return [folder / name for name in (*texts, "flow.png")]


def _markdown(cohort: Cohort) -> str:
    rule = cohort.patient_rule or "a rule that the manifest does not state"
    small = "" if cohort.exact else f" Groups of fewer than {SMALLEST} patients are shown as <{SMALLEST}."
    parts = [
        "# Cohort",
        f"Data set {cohort.fingerprint[:16]}. Patients by {rule}. The images are pseudonymised, not anonymous.{small}",
        *(f"Note: {note}" for note in cohort.notes),
        "## Flow",
        "![From files to patients](flow.png)",
        _flow(cohort),
        "## Table 1",
        "Patients (share of the split's patients); samples. Numbers: median [quartiles] over series; n series.",
        _table(("", *COLUMNS), _table_one(cohort)),
    ]
    if cohort.labels is None:
        parts += ["## Classes by scanner", "The data set has no label set in use."]
    else:
        parts += [f"## Classes by scanner (label set {cohort.labels})", *_scanners(cohort)]
    return "\n\n".join(parts) + "\n"


def _flow(cohort: Cohort) -> str:
    rows = []
    for step, reason, number in flow_rows(cohort.flow):
        meaning = MEANINGS.get(reason, "")
        rows.append((step, f"{reason}: {meaning}" if meaning else reason, number))
    return _table(("step", "reason", "number"), rows)


def _table_one(cohort: Cohort) -> list[tuple[str, ...]]:
    table = cohort.table
    everybody = table.rows[0].counts
    lines: list[tuple[str, ...]] = []
    variable = ""
    for row in (*table.rows, *table.classes):
        if row.variable != variable and row.level:
            lines.append((f"**{row.variable}**", *[""] * len(COLUMNS)))
        variable = row.variable
        cells = [_cell(count, whole, bool(row.level)) for count, whole in zip(row.counts, everybody, strict=True)]
        lines.append((row.level or f"**{row.variable}**", *cells))
    for numbers in table.quartiles:
        lines.append((f"**{numbers.variable}**", *(_quartile_cell(value) for value in numbers.values)))
    return lines


def _cell(count: Count, whole: Count, share: bool) -> str:
    if not count.patients:
        return "0"
    text = count.patients_text
    if share and not (count.hidden or count.partly or whole.hidden or whole.partly):
        text += f" ({count.patients / whole.patients:.0%})"
    samples = count.text("samples")
    return f"{text}; {samples}" if samples else text


def _quartile_cell(value: tuple[float, float, float, int] | None) -> str:
    if value is None:
        return "–"
    low, middle, high, series = value
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]; n {series:,}"


def _scanners(cohort: Cohort) -> list[str]:
    parts = [f"> **Warning.** {_escape(warning)}" for warning in cohort.scanners.warnings]
    names = dict.fromkeys(row.name for row in cohort.scanners.rows)
    lines = []
    for name in names:
        mine = [row for row in cohort.scanners.rows if row.name == name]
        makers, models = ([row for row in mine if row.kind == kind] for kind in ("manufacturer", "model"))
        more = [f"{len(models) - _MAX_MODELS} more"] if len(models) > _MAX_MODELS else []
        lines.append((name, _list(makers), "; ".join([_list(models[:_MAX_MODELS]), *more])))
    return [*parts, _table(("class", "manufacturer: patients, share of samples", "model"), lines)]


def _list(rows: Sequence[ScannerRow]) -> str:
    texts = []
    for row in rows:
        share = "" if row.count.hidden else f", {row.share:.0%}"
        texts.append(f"{row.scanner}: {row.count.patients_text}{share}")
    return "; ".join(texts)


def _count_cells(rows: Iterable[CountRow]) -> Iterable[tuple[str, ...]]:
    for row in rows:
        for split, count in zip(COLUMNS, row.counts, strict=True):
            numbers = (count.text(name).replace(",", "") for name in _NUMBERS)
            yield (row.variable, row.level, split, *numbers, "", "", "")


def _quartile_cells(rows: Iterable[Quartiles]) -> Iterable[tuple[str, ...]]:
    for row in rows:
        for split, value in zip(COLUMNS, row.values, strict=True):
            if value is not None:
                low, middle, high, series = value
                yield (row.variable, "", split, "", "", str(series), "", f"{middle:.6g}", f"{low:.6g}", f"{high:.6g}")


def _scanner_cells(row: ScannerRow) -> tuple[str, ...]:
    samples = row.count.text("samples").replace(",", "")
    share = "" if row.count.hidden else f"{row.share:.4f}"
    return (row.name, row.kind, row.scanner, row.count.patients_text.replace(",", ""), samples, share)


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Text from headers and labels, so that it stays in its cell."""
    return _TAG.sub("&lt;", text.replace("|", "\\|").replace("\n", " "))
