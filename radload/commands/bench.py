"""`radload bench`: see `radload.bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "train",
    size: Annotated[int, typer.Option(help="Of the output in pixels.")] = 224,
    window: Annotated[
        str | None,
        typer.Option(
            help="A preset, file, or --window=CENTRE,WIDTH. [default: the recipe per modality]", show_default=False
        ),
    ] = None,
    channels: Annotated[int, typer.Option(help="Windows per image, 3 or 1.")] = 3,
    augment: Annotated[
        str | None, typer.Option(help="As in training: default, or nothing for none.", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Samples per batch.")] = 64,
    threads: Annotated[
        int | None,
        typer.Option(help="Of the loader, and of each stage. [default: the allowed cores]", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(help="That measuring takes, beside the start.")] = 15.0,
    arch: Annotated[
        str | None, typer.Option(help="A network, by its timm name: is the loader fast enough?", show_default=False)
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="With --arch: look up what it takes on this card, such as h200.", show_default=False),
    ] = None,
    measure_arch: Annotated[
        bool, typer.Option("--measure-arch", help="With --arch: measure what it takes on this machine.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.", show_default=False)] = None,
    level_slack: Annotated[float, typer.Option(help="How far a level may be enlarged; training takes 1.5.")] = 1.0,
) -> None:
    """Measure what reading, decoding, kernel and the whole loader give on this machine, and say which is the limit."""
    from rich.console import Console

    from radload.bench import BenchOptions
    from radload.bench import bench as run
    from radload.bench.report import print_result, write_json

    options = BenchOptions(
        shards,
        None if split == "all" else split,
        size,
        window,
        channels,
        augment,
        batch_size,
        threads,
        seconds,
        arch,
        gpu,
        measure_arch,
        json,
        level_slack,
    )
    result = run(options)
    print_result(result, Console())
    if json is not None:
        write_json(result, json)
