"""What a pack did, as data and as a table for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from radload.dataset.labels import LabelSet
from radload.dataset.manifest import Manifest
from radload.dataset.schema import SPLITS


@dataclass(frozen=True, slots=True)
class PackSummary:
    """The outcome of `radload pack`.

    Attributes:
        fresh: False where the data set was already there and nothing was done.
        packed, ignored: input files; rejected: input files by code; frames_rejected: frames missing from packed files.
        splits: per split {"samples", "series", "patients"}; classes: class -> samples (multi-label: positives).
        bytes_in, bytes_out: of packed files, of shards; pixels: bytes of stored values.
        seconds, slices: time of this run, and slices that it wrote itself (fewer than samples where it went on from a stopped one).
        notes: sentences about what the user should know.
        masks: those of the packed files that are masks of others.
    """

    fresh: bool
    samples: int
    packed: int
    rejected: dict[str, int]
    ignored: int
    splits: dict[str, dict[str, int]]
    frames_rejected: int = 0
    classes: dict[str, int] | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    slices: int = 0
    notes: tuple[str, ...] = ()
    masks: int = 0

    @property
    def files(self) -> int:
        """Input files: packed, rejected and ignored add up."""
        return self.packed + sum(self.rejected.values()) + self.ignored

    @property
    def slices_per_second(self) -> float:
        """Of this run, scan and index included."""
        return self.slices / self.seconds if self.seconds > 0 else 0.0


def already_packed(manifest: Manifest) -> PackSummary:
    """Of a data set that was finished before."""
    source = manifest.source
    rejected = {"all codes": source["rejected"]}
    return PackSummary(False, manifest.samples, source["packed"], rejected, source["ignored"], manifest.splits)


def count_classes(labels: LabelSet | None) -> dict[str, int] | None:
    """Samples per class, None without labels."""
    return None if labels is None else {name: int(n) for name, n in zip(labels.classes, labels.counts(), strict=True)}


def print_summary(summary: PackSummary, out: str, console: Console) -> None:
    """Print the tables."""
    if not summary.fresh:
        parts = ", ".join(f"{name} {summary.splits[name]['samples']:,}" for name in SPLITS)
        console.print(Text(f"already packed: {summary.samples:,} samples ({parts}) in {out}; nothing to do"))
        for note in summary.notes:  # of an append: what is said of its files
            console.print(Text(f"note: {note}"))
        return
    tables = [_files_table(summary), _splits_table(summary)]
    if summary.classes is not None:
        tables.append(_classes_table(summary.classes))
    console.print(Group(*tables))
    for note in summary.notes:
        console.print(Text(f"note: {note}"))
    console.print(Text(f"{summary.samples:,} samples in {out}"))


def print_labels(labels: LabelSet, console: Console) -> None:
    """Print what a new label set holds."""
    known = labels.codes >= 0 if labels.task == "single" else ~np.isnan(labels.codes).all(axis=1)
    console.print(_classes_table(count_classes(labels) or {}))
    console.print(
        Text(
            f"label set {labels.name!r}: {int(known.sum()):,} of {len(labels.codes):,} samples, {len(labels.classes)} classes"
        )
    )


def _files_table(summary: PackSummary) -> Table:
    table = _table("input files", ("", "left"), ("files", "right"))
    table.add_row("packed", f"{summary.packed - summary.masks:,}")
    if summary.masks:
        table.add_row("packed as masks", f"{summary.masks:,}")
    for code, count in summary.rejected.items():
        table.add_row(f"rejected: {code}", f"{count:,}")
    table.add_row("ignored (no image)", f"{summary.ignored:,}")
    table.add_row("all", f"{summary.files:,}", end_section=True)
    if summary.frames_rejected:
        table.add_row("frames rejected in packed files", f"{summary.frames_rejected:,}")
    table.add_row("bytes in", _size(summary.bytes_in))
    table.add_row("bytes out", _size(summary.bytes_out))
    if summary.bytes_out:
        table.add_row("in / out", f"{summary.bytes_in / summary.bytes_out:.2f}")
        table.add_row("pixels / out", f"{summary.pixels / summary.bytes_out:.2f}")
    table.add_row("seconds", f"{summary.seconds:.1f}")
    if summary.slices:  # none where only the index was written
        table.add_row("slices/s", f"{summary.slices_per_second:,.0f}")
    return table


def _splits_table(summary: PackSummary) -> Table:
    table = _table("splits", ("", "left"), ("patients", "right"), ("series", "right"), ("samples", "right"))
    for name in SPLITS:
        table.add_row(name, *(f"{summary.splits[name][column]:,}" for column in ("patients", "series", "samples")))
    return table


def _classes_table(classes: dict[str, int], most: int = 30) -> Table:
    table = _table("classes", ("", "left"), ("samples", "right"))
    for name, count in sorted(classes.items(), key=lambda item: (-item[1], item[0]))[:most]:
        table.add_row(Text(name), f"{count:,}")
    if len(classes) > most:
        table.add_row(f"and {len(classes) - most} more", f"{sum(sorted(classes.values())[: len(classes) - most]):,}")
    return table


def _table(title: str, *columns: tuple[str, str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left", no_wrap=True)
    return table


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"
