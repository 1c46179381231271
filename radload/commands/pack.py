"""`radload pack`: see `radload.pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    src: Annotated[
        Path, typer.Option(help="Folder with DICOM, NIfTI, PNG or JPEG files, at any depth.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the shards; new, empty, or of a pack that was stopped.", show_default=False)
    ],
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
) -> None:
    """Pack a folder of images into shards, an index and a private folder. Run again to go on after a stop."""
    from rich.console import Console

    from radload.pack import PackOptions, Stopped
    from radload.pack import pack as run
    from radload.pack.summary import print_summary

    options = PackOptions(
        source=src,
        out=out,
        private=private,
        codec=codec,
        split=split,
        split_seed=split_seed,
        splits=splits,
        patients=patients,
        labels=labels,
        labels_from=labels_from,
        uncertain=uncertain,
        color=color,
        axis=axis,
        order=order,
        shard_size=shard_size,
        workers=workers,
        where=where,
        holdout=holdout,
        slices=slices,
        frames=frames,
        drop_empty=drop_empty,
        masks=tuple(masks or ()),
        include=tuple(include or ()),
        wide=wide,
        timeout=timeout,
        memory=memory,
        keep=tuple(keep or ()),
        retain=tuple(name.strip() for name in (retain or "").split(",") if name.strip()),
        key=key,
        transform=transform,
        link_duplicates=link_duplicates,
        attest_no_phi=attest_no_phi,
        crop_us_regions=crop_us_regions,
        decisions=decisions,
    )
    if append:
        from radload.pack import append as run
    if dry_run:
        from radload.pack.preview import dry_run as count
        from radload.pack.preview import print_dry_run

        try:
            found = count(options, None if quiet else Console(stderr=True))
        except KeyboardInterrupt:
            typer.echo("radload: stopped; nothing was written", err=True)
            raise typer.Exit(130) from None
        if not quiet:
            print_dry_run(found, Console())
        return
    try:
        summary = run(options, None if quiet else Console(stderr=True))
    except KeyboardInterrupt as stopped:
        typer.echo(
            f"radload: {stopped if isinstance(stopped, Stopped) else 'stopped; run the same command again to go on'}",
            err=True,
        )
        raise typer.Exit(130) from None
    if not quiet:
        print_summary(summary, str(out), Console())
