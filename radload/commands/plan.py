"""`radload plan` and `radload finish`, around the `radload pack --job` of a cluster's jobs: see `radload.pack.stages`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from radload.commands.pack import pack, pack_options, stopped_is_said

_NOT_OF_PLAN: Final = frozenset(
    ("context", "job", "dry_run", "append", "scheduler", "tls_ca_file", "tls_cert", "tls_key", "decode_device", "quiet")
)


def plan(quiet: bool = False, **given: Any) -> None:
    """Scan and plan a pack, with the options of `radload pack`, and leave its shards to `radload pack --job`; `radload finish` ends it."""
    from radload.pack.stages import plan as run

    with stopped_is_said():
        found = run(pack_options(given), None if quiet else Console(stderr=True))
    if quiet:
        return
    for note in found.notes:
        typer.echo(f"note: {note}")
    typer.echo(
        f"planned: {found.slices:,} slices in {found.shards:,} shards; write them by `radload pack --out {given['out']} --job I/N` "
        f"for every I from 0 to N - 1, and then run `radload finish --out {given['out']}`"
    )


def _options_of_pack() -> list[inspect.Parameter]:
    found = inspect.signature(pack, eval_str=True).parameters
    return [parameter for name, parameter in found.items() if name not in _NOT_OF_PLAN] + [found["quiet"]]


setattr(plan, "__signature__", inspect.Signature(_options_of_pack()))  # noqa: B010 - mypy knows no such attribute
plan.__annotations__ = {parameter.name: parameter.annotation for parameter in _options_of_pack()}


def finish(
    out: Annotated[Path, typer.Option(help="Folder that `radload plan` was given.", show_default=False)],
    private: Annotated[
        Path | None, typer.Option(help="Private folder, likewise. [default: OUT.private]", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes, for --link-duplicates. [default: all cores]", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but failures.")] = False,
) -> None:
    """Make a data set of the shards that `radload pack --job` has written: index, labels and manifest."""
    from radload.pack.options import check_workers
    from radload.pack.stages import finish as run
    from radload.pack.summary import print_summary

    check_workers(workers)
    with stopped_is_said():
        summary = run(out, private, workers, None if quiet else Console(stderr=True))
    if not quiet:
        print_summary(summary, str(out), Console())
