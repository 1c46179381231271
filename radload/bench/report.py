"""The table that `radload bench` prints, and its JSON."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from radload.bench.cold import Cold
from radload.bench.result import DECODE, KERNEL, LOADER, READ, Result
from radload.errors import UsageError

CROWDED = 0.85  # share of the cores under which figures are too low

_ROWS = (
    (READ, "reading and CRC-32C alone"),
    (DECODE, "decoding alone"),
    (KERNEL, "kernel alone"),
)


def print_result(result: Result, console: Console) -> None:
    """Print one table and the verdict."""
    asked = result.settings
    console.print(
        Text(
            f"{asked['shards']}: split {asked['split'] or 'all'}, {result.samples:,} samples, to {asked['size']} x {asked['size']}, "
            f"batches of {asked['batch_size']}, {result.threads} threads"
        )
    )
    table = Table(header_style="dim")
    table.add_column("what")
    table.add_column("slices/s", justify="right")
    table.add_column("of all rounds", justify="right", style="dim")
    table.add_column("", overflow="fold")
    notes = {READ: _reading(result), DECODE: _levels(result), KERNEL: f"{asked['channels']} channels, float32"}
    for name, title in _ROWS:
        table.add_row(title, f"{result.rate(name):,.0f}", _span(result, name), notes[name])
    if isinstance(result.cold, Cold):
        fetched, wanted = result.cold.fetched / 1000, result.cold.asked / 1000
        note = f"{fetched:,.0f} kB per sample from storage where {wanted:,.0f} kB were asked for"
        table.add_row("reading, not in the page cache", f"{result.cold.rate:,.0f}", "one", note)
    else:
        table.add_row("reading, not in the page cache", "unknown", "", Text(result.cold))
    table.add_section()
    table.add_row(
        "the three, one after the other", f"{result.together:,.0f}", "", "computed: the ceiling of these threads"
    )
    table.add_row(Text("the Loader", "bold"), f"{result.rate(LOADER):,.0f}", _span(result, LOADER), _loader(result))
    if result.need is not None:
        need = result.need
        table.add_row(Text(f"{need.arch} on {need.where}"), f"{need.rate:,.0f}", "", Text(f"{need.origin}: {need.how}"))
    console.print(table)
    if result.unreadable:
        console.print(f"{result.unreadable} of the samples tried could not be read: the loader names them, see its log")
    if result.cores_free < CROWDED:
        console.print(
            f"other programs were busy: the stages got {result.cores_free:.0%} of the CPU time that they asked for; "
            "measure again when the machine is quiet"
        )
    console.print(Text(result.verdict), soft_wrap=True)


def write_json(result: Result, path: Path) -> None:
    """Write all figures. Raises UsageError."""
    try:
        path.write_text(json.dumps(result.as_dict(), indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"--json {path} cannot be written ({error.strerror}): give another place") from None


def _span(result: Result, name: str) -> str:
    rates = result.rounds[name]
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


def _reading(result: Result) -> str:
    return f"{result.asked / 1000:,.0f} kB per sample, {result.asked / result.raw:.1%} of its pixels; page cache warm"


def _levels(result: Result) -> str:
    names = {0: "full resolution", 1: "half", 2: "quarter"}
    shares = {level: f"{share:.0%}" if share >= 0.01 else "under 1%" for level, share in result.levels.items()}
    return ", ".join(f"{names.get(level, f'1/{1 << level}')}: {share}" for level, share in shares.items())


def _loader(result: Result) -> str:
    mib = [size / 2**20 for size in (result.memory.own, result.memory.shared)]
    parts = [
        f"first batch after {result.first_batch:.1f} s",
        f"{result.loader_cores:.1f} cores, the consumer {result.consumer_cores:.1f}",
        f"{mib[0]:,.0f} MiB of its own, {mib[1]:,.0f} MiB of batches",
    ]
    if result.from_storage is not None:
        parts.append(f"{result.from_storage:.0%} of the bytes from storage")
    return "; ".join(parts)
