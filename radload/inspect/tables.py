"""The tables that `radload inspect` prints."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from radload.dataset import Dataset
from radload.dataset.schema import SPLITS
from radload.inspect.summary import Summary

MAX_CLASSES = 60  # more would push everything else off the screen


def print_tables(console: Console, dataset: Dataset, summary: Summary) -> None:
    """Print what the data set is, its splits, classes, modalities and codecs."""
    manifest = dataset.manifest
    console.print(Text(str(dataset.root), "bold"))
    console.print(
        f"format {manifest.version}, generation {manifest.generation}, fingerprint {manifest.fingerprint[:16]}",
        highlight=False,
    )
    unknown = (
        f", of {manifest.unknown_patients} series or files the patient is unknown" if manifest.unknown_patients else ""
    )
    console.print(Text(f"patients from {manifest.patient_rule}{unknown}; split {_split_rule(manifest.split_rule)}"))
    for note in manifest.notes:
        console.print(Text(f"note: {note}"))
    console.print(_splits(summary))
    if summary.labels is not None:
        console.print(_classes(summary))
    else:
        console.print("no labels: add a set with `radload label`")
    console.print(_modalities(summary))
    console.print(_traits(summary))
    console.print(_codecs(summary))


def size_text(size: int) -> str:
    """Bytes for people, powers of 1,000."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def make_table(title: str, *columns: str) -> Table:
    """The first column is text, all others numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    return table


def _splits(summary: Summary) -> Table:
    table = make_table("Splits", "split", "patients", "series", "samples", "shards", "bytes")
    for row in summary.splits:
        table.add_row(
            Text(row.name), *_numbers(row.patients, row.series, row.samples, row.shards), size_text(row.bytes)
        )
    table.add_section()
    totals = [sum(getattr(row, name) for row in summary.splits) for name in ("patients", "series", "samples", "shards")]
    table.add_row("all", *_numbers(*totals), size_text(summary.bytes))
    return table


def _classes(summary: Summary) -> Table:
    table = make_table(
        f"Classes of label set {summary.labels} ({summary.task} label, from {escape(str(summary.origin))})",
        "class", *SPLITS, "all", "patients",
    )  # fmt: skip
    for row in summary.classes[:MAX_CLASSES]:
        table.add_row(Text(row.name), *_numbers(*row.samples, sum(row.samples), row.patients))
    if len(summary.classes) > MAX_CLASSES:
        table.add_row(f"and {len(summary.classes) - MAX_CLASSES} more")
    if summary.unlabelled:
        table.add_section()
        table.add_row("without a label", *[""] * len(SPLITS), *_numbers(summary.unlabelled), "")
    return table


def _modalities(summary: Summary) -> Table:
    table = make_table("Modalities", "modality", "patients", "series", "samples", "rows x columns", "stored as")
    for row in summary.modalities:
        sizes = [f"{rows}x{cols}" for rows, cols, _ in row.sizes]
        sizes += [f"{row.other_sizes} more"] if row.other_sizes else []
        types = ", ".join(name for name, _ in row.dtypes)
        table.add_row(Text(row.name), *_numbers(row.patients, row.series, row.samples), ", ".join(sizes), types)
    return table


def _traits(summary: Summary) -> Table:
    table = make_table(
        "Samples with", "modality", "MONOCHROME1", "padding", "levels", "exact", "lossy", "suspect"
    )  # fmt: skip
    for row in summary.modalities:
        exact = row.samples - row.inexact
        table.add_row(Text(row.name), *_numbers(row.inverted, row.padded, row.reducible, exact, row.lossy, row.suspect))
    table.add_section()
    names = ("inverted", "padded", "reducible")
    suspect = sum(row.suspect for row in summary.modalities)
    totals = [sum(getattr(row, name) for row in summary.modalities) for name in names]
    table.add_row("all", *_numbers(*totals, summary.exact, summary.lossy, suspect))
    return table


def _codecs(summary: Summary) -> Table:
    table = make_table("Pixels", "codec", "samples", "stored pixels", "in shards", "ratio")
    for row in summary.codecs:
        ratio = f"{row.raw / row.coded:.2f}" if row.coded else ""
        table.add_row(Text(row.name), *_numbers(row.samples), size_text(row.raw), size_text(row.coded), ratio)
    return table


def _numbers(*values: int) -> list[str]:
    return [f"{value:,}" for value in values]


def _split_rule(rule: dict[str, object]) -> str:
    ratio = rule.get("ratio")
    parts = "/".join(f"{share:g}" for share in ratio) if isinstance(ratio, list) else "unknown"
    return f"{parts}, seed {rule.get('seed')}, {rule.get('method')}"
