"""The groups in quarantine as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from radload.review.page import Section

_MOST = 30  # rows


def print_groups(sections: Sequence[Section], console: Console) -> None:
    """Print the largest groups."""
    table = Table(title="in quarantine", title_justify="left", box=None, pad_edge=False)
    for name in ("group", "device", "rows x cols", "decision"):
        table.add_column(name, no_wrap=name != "device")
    for name in ("files", "frames"):
        table.add_column(name, justify="right")
    for section in sections[:_MOST]:
        group = section.group
        device = " ".join(part for part in (group.manufacturer, group.model) if part)
        table.add_row(
            group.name,
            Text(device),
            f"{group.rows} x {group.cols}",
            section.decision,
            f"{section.files:,}",
            f"{section.frames:,}",
        )
    console.print(table)
    if len(sections) > _MOST:
        console.print(Text(f"and {len(sections) - _MOST} more groups"))
