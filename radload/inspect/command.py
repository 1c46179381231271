"""What `radload inspect SHARDS` does: tables on the console, and a contact sheet as a picture."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

import radload
from radload.dataset.addresses import check_local
from radload.dataset.files import check_report
from radload.errors import UsageError
from radload.inspect.contact_sheet import write_contact_sheet
from radload.inspect.summary import summarise
from radload.inspect.tables import print_tables


def inspect(shards: Path, out: Path = Path("contact.png"), labels: str | None = None) -> None:
    """Print what a data set holds, and write a contact sheet: a row per class, in the windows that a model sees.

    Args:
        shards: folder that `radload pack --out` wrote.
        out: the picture; by default contact.png where the command runs, because shards may be read-only or shared.
        labels: label set; by default the data set's own.

    Raises:
        UsageError: no data set, no such label set, or a place where no picture can be written.
        FormatError: another format version, or a damaged index.
    """
    check_local("--out", out)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out} is no .png file: give the picture's name, such as contact.png")
    check_report("--out", out)
    console = Console()
    with radload.open(shards, labels) as dataset:
        print_tables(console, dataset, summarise(dataset))
        try:
            notes = write_contact_sheet(dataset, out)
        except OSError as error:
            raise UsageError(f"--out {out} cannot be written ({error.strerror}): give another place") from None
    for note in notes:
        console.print(Text(f"note: {note}"))
    console.print(Text(f"contact sheet: {out}"))
