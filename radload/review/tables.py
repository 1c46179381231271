"""The groups in quarantine as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from radload.review.page import Section

_MOST = 30  # rows


def print_groups(sections: Sequence[Section], console: Console) -> None:
    """Print the largest groups, without texts of headers: those stand on the page in the private folder."""
    table = Table(title="in quarantine", title_justify="left", box=None, pad_edge=False)
    for name in ("group", "rows x cols", "decision"):
        table.add_column(name, no_wrap=True)
    for name in ("files", "frames"):
        table.add_column(name, justify="right")
    for section in sections[:_MOST]:
        group = section.group
        table.add_row(
            group.name,
            f"{group.rows} x {group.cols}",
            section.decision,
            f"{section.files:,}",
            f"{section.frames:,}",
        )
    console.print(table)
    if len(sections) > _MOST:
        console.print(Text(f"and {len(sections) - _MOST} more groups"))
