"""`radload versions`: a table of a data set's versions."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from radload.dataset.manifest import generation_folder, generations, read_generation, read_manifest


def print_versions(root: Path, console: Console) -> None:
    """Print the versions, oldest first. Raises UsageError where there is no data set."""
    current = read_manifest(root)
    table = Table(box=None, pad_edge=False)
    for name in ("version", "samples", "patients", "fingerprint", ""):
        table.add_column(name, justify="right" if name in ("samples", "patients") else "left")
    there = generations(root, current)
    for number in sorted({*there, *current.withdrawn}):
        if number in current.withdrawn:
            gone = not generation_folder(root, number).is_dir()
            table.add_row(str(number), "", "", "", f"held patients who withdrew: {'gone' if gone else 'not opened'}")
            continue
        one = read_generation(root, number)
        state = "current" if number == current.generation else ""
        table.add_row(str(number), f"{one.samples:,}", f"{one.patients:,}", one.fingerprint[:16], state)
    console.print(table)
