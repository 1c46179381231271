"""`radload label`: see `radload.pack.relabel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def label(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with a path, patient, study, accession, series, sop or key column, and labels.",
            show_default=False,
        ),
    ] = None,
    labels_from: Annotated[
        str | None, typer.Option(help="modality, or folder:LEVEL (1: first below the source).", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option(help="Of the label set: Loader(labels=NAME).")] = "default",
    private: Annotated[
        Path | None, typer.Option(help="Private folder of the shards. [default: SHARDS.private]", show_default=False)
    ] = None,
    uncertain: Annotated[str, typer.Option(help="What -1 means in a multi-label CSV: ignore, zero or one.")] = "ignore",
    replace: Annotated[bool, typer.Option("--replace", help="Write over a label set of this name.")] = False,
) -> None:
    """Add a label set to a packed data set; the shards stay as they are."""
    from rich.console import Console

    from radload.pack.relabel import LabelOptions, add_labels
    from radload.pack.summary import print_labels

    written = add_labels(LabelOptions(shards, labels, labels_from, name, private, uncertain, replace))
    print_labels(written, Console())
