"""`radload pack`: see `radload.pack`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from radload.errors import UsageError
from radload.preload import start_server

if TYPE_CHECKING:
    from radload.pack import PackOptions

INTERRUPTED: Final = 130  # exit code: 128 + SIGINT, as shells count
_OF_SHARE: Final = frozenset(("out", "private", "job", "workers", "timeout", "memory", "quiet", "decode_device"))


def pack(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder for the shards; new, empty, or of a pack that was stopped.", show_default=False)
    ],
    src: Annotated[
        Path | None, typer.Option(help="Folder with DICOM, NIfTI, PNG or JPEG files, at any depth.", show_default=False)
    ] = None,
    private: Annotated[
        Path | None,
        typer.Option(help="Folder that says which sample is which file. [default: OUT.private]", show_default=False),
    ] = None,
    codec: Annotated[str, typer.Option(help="htj2k (with resolution levels) or raw.")] = "htj2k",
    split: Annotated[str, typer.Option(help="Percent of patients in train/val/test.")] = "75/10/15",
    split_seed: Annotated[
        int, typer.Option(help="Public seed of the division; a patient keeps his split in every pack.")
    ] = 0,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="CSV that gives splits: a path, patient, study or series column, and split.", show_default=False
        ),
    ] = None,
    patients: Annotated[
        str | None,
        typer.Option(
            help="tag:PatientID, path:REGEX or csv:FILE. [default: PatientID; BIDS sub- in paths]", show_default=False
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with a path, patient, study, accession, series or sop column, and labels.", show_default=False
        ),
    ] = None,
    labels_from: Annotated[
        str | None, typer.Option(help="modality, or folder:LEVEL (1: first below --src).", show_default=False)
    ] = None,
    uncertain: Annotated[str, typer.Option(help="What -1 means in a multi-label CSV: ignore, zero or one.")] = "ignore",
    color: Annotated[str, typer.Option(help="auto (grey where channels are equal), gray or keep.")] = "auto",
    axis: Annotated[str, typer.Option(help="Along which NIfTI volumes are cut: last, 0, 1 or 2.")] = "last",
    order: Annotated[str, typer.Option(help="series: the slices of a series stay together.")] = "series",
    shard_size: Annotated[
        float | None,
        typer.Option(help="MiB of pixels per shard. [default: 128, less for small data sets]", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; 0: none but this one. [default: all cores]", show_default=False)
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Pack what this is true for: \"modality = 'CT' and rows >= 512\" (docs/catalog.md).",
            show_default=False,
        ),
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            help="Patients with an image that this is true for are the test split, whatever --split says.",
            show_default=False,
        ),
    ] = None,
    slices: Annotated[
        str, typer.Option(help="Of each series, in order of position: all, every:N, central:K or max:K.")
    ] = "all",
    frames: Annotated[
        str, typer.Option(help="Of each clip (ultrasound, angiography): all, first, every:N, central:K or max:K.")
    ] = "all",
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out slices that show nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be packed, from headers; write nothing.")
    ] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(
            help="Pack what is left out by default: localizer, screen-save, dose-report, secondary-capture, rt-object, "
            "raw-mammogram or looks-like-mask; may be repeated.",
            show_default=False,
        ),
    ] = None,
    wide: Annotated[
        str,
        typer.Option(
            help="What does not fit 16 bits exactly (32-bit integers, floats): raw, or scale to 16 bits with the error recorded."
        ),
    ] = "raw",
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a file that yields nothing more is given up.")
    ] = 120.0,
    memory: Annotated[
        float, typer.Option(help="GiB that a process may take; a file that needs more is rejected.")
    ] = 2.0,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="DICOM keyword of a further attribute that may leave, such as KVP; repeatable.", show_default=False
        ),
    ] = None,
    retain: Annotated[
        str | None,
        typer.Option(help="Patient characteristics that you may pass on: age,sex,size,weight.", show_default=False),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="File with a pseudonym key in hex: equal pseudonyms in packs that share it.", show_default=False
        ),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            help="MODULE:FUNCTION, called with each slice before it is encoded (defacing).", show_default=False
        ),
    ] = None,
    attest_no_phi: Annotated[
        bool,
        typer.Option("--attest-no-phi", help="I know that the PNG and JPEG files hold no burned-in text; recorded."),
    ] = False,
    crop_us_regions: Annotated[
        bool, typer.Option("--crop-us-regions", help="Crop ultrasound to its scan regions and pack it.")
    ] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="decisions.toml of `radload review`, filled in: what to do with quarantined files.", show_default=False
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but failures.")] = False,
    masks: Annotated[
        list[str] | None,
        typer.Option(
            help="Glob of files below --src that are masks of images, such as '**/*_seg.nii.gz'; may be repeated.",
            show_default=False,
        ),
    ] = None,
    link_duplicates: Annotated[
        bool,
        typer.Option(
            "--link-duplicates", help="Keep patients who share an image in one split; decodes every image once more."
        ),
    ] = False,
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="Add the files of --src that are new to the data set in --out, as its next version."
        ),
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler whose workers write the shards (docs/cluster.md).",
            show_default=False,
        ),
    ] = None,
    tls_ca_file: Annotated[
        Path | None, typer.Option(help="PEM file, for --scheduler tls://…", show_default=False)
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file, likewise.", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file, likewise.", show_default=False)] = None,
    decode_device: Annotated[
        str,
        typer.Option(help="cpu, or cuda: a GPU decodes lossless JPEG, JPEG 2000 and HTJ2K in batches (docs/gpu.md)."),
    ] = "cpu",
    job: Annotated[
        str | None,
        typer.Option(
            help="NUMBER/SHARES: write this share of the shards that `radload plan` has planned in --out, such as "
            "$SLURM_ARRAY_TASK_ID/16.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Pack a folder of images into shards, an index and a private folder. Run again to go on after a stop."""
    given = dict(locals())  # first: what the command line said, and nothing else
    for name in ("context", "dry_run", "quiet", "job", "append"):
        del given[name]
    console = None if quiet else Console(stderr=True)
    if job is not None:
        _only_of_share(context)
        with stopped_is_said():
            _pack_share(out, private, job, timeout, memory, workers, console, decode_device)
        return
    if workers != 0 and given["scheduler"] is None:
        start_server()
    options = pack_options(given)
    if dry_run:
        if append:
            raise UsageError(
                "--dry-run counts what a new data set would hold, not what --append adds: leave one of them out"
            )
        _dry_run(options, console)
        return

    from radload import pack as packing
    from radload.pack.summary import print_summary

    run = packing.append if append else packing.pack

    with stopped_is_said():
        summary = run(options, console)
    if not quiet:
        print_summary(summary, str(out), Console())


def pack_options(given: Mapping[str, Any]) -> PackOptions:
    """The options of a command line. Raises UsageError where --src is missing."""
    from radload.pack import PackOptions

    if given["src"] is None:
        raise UsageError("--src is missing: give the folder with the images")
    values = dict(given)
    values["source"] = values.pop("src")
    for name in ("masks", "include", "keep"):
        values[name] = tuple(values[name] or ())
    values["retain"] = tuple(name.strip() for name in (values["retain"] or "").split(",") if name.strip())
    return PackOptions(**values)


@contextmanager
def stopped_is_said() -> Iterator[None]:
    """On Ctrl-C: what is left, in one line, and exit code INTERRUPTED."""
    from radload.pack import Stopped

    try:
        yield
    except KeyboardInterrupt as stopped:
        text = stopped if isinstance(stopped, Stopped) else "stopped; run the same command again to go on"
        typer.echo(f"radload: {text}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _dry_run(options: PackOptions, console: Console | None) -> None:
    from radload.pack.preview import dry_run, print_dry_run

    try:
        found = dry_run(options, console)
    except KeyboardInterrupt:
        typer.echo("radload: stopped; nothing was written", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if console is not None:
        print_dry_run(found, Console())


def _pack_share(
    out: Path,
    private: Path | None,
    job: str,
    timeout: float,
    memory: float,
    workers: int | None,
    console: Console | None,
    decode_device: str,
) -> None:
    from radload.pack.options import check_decode_device, check_limits, check_workers
    from radload.pack.stages import pack_share, parse_share

    check_workers(workers)
    check_decode_device(decode_device)
    limits = check_limits(timeout, memory)
    done = pack_share(out, private, parse_share(job), limits, workers, console, decode_device)
    if console is not None:
        written = done.shards - done.finished
        typer.echo(
            f"share {job}: {done.shards:,} shards, {written:,} of them written now ({done.slices:,} slices in {done.seconds:.1f} s)"
        )
        for note in done.notes:
            typer.echo(f"note: {note}")


def _only_of_share(context: typer.Context) -> None:
    """Options that decide what is packed belong to the plan: given here, they would be without effect."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in _OF_SHARE and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} does not go with --job: give it to `radload plan`, which says what is packed")
