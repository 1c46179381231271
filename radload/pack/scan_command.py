"""`radload scan`: the catalog of a folder, without a pack."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from radload.errors import UsageError
from radload.pack.catalog import CATALOG, JOURNAL, scan_catalog
from radload.pack.catalog_schema import IMAGE
from radload.pack.display import Display
from radload.pack.options import check_axis, check_limits
from radload.pack.walk import resolved, walk
from radload.pack.workspace import KEY, REVIEW, check_source

if TYPE_CHECKING:
    import pyarrow.dataset as ds


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Options of `radload scan`; as those of `radload pack`."""

    source: Path
    private: Path
    axis: str = "last"
    workers: int | None = None
    timeout: float = 120.0
    memory: float = 2.0


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What a scan found.

    Attributes:
        path: the catalog; files: its rows; reused: of them, those not read again.
        status: (status, code or None) -> files; modalities: modality -> (images, slices).
    """

    path: Path
    files: int
    reused: int
    status: dict[tuple[str, str | None], int]
    modalities: dict[str, tuple[int, int]]


def scan_folder(options: ScanOptions, console: Console | None = None) -> ScanSummary:
    """Write or update the catalog of `options.source`. A scan that was stopped goes on when the same call is made again.

    Raises:
        UsageError: a folder or option that cannot be used.
    """
    axis, limits = check_axis(options.axis), check_limits(options.timeout, options.memory)
    if options.workers is not None and options.workers < 0:
        raise UsageError(
            f"--workers {options.workers} is no number of processes: give 1 or more, or leave it out for all cores"
        )
    source, private = resolved(options.source, options.timeout), options.private.resolve()
    _check(options, source, private)
    workers = options.workers if options.workers is not None else len(os.sched_getaffinity(0))
    with _folder(private), Display(console) as display:
        display.start("scanning", None, "files")
        scan = scan_catalog(source, walk(source, limits.timeout), axis, workers, private, display.advance, limits)
        if not scan.files:
            (private / CATALOG).unlink()
            raise UsageError(f"--src {options.source} is an empty folder: give the folder with the images")
    return ScanSummary(private / CATALOG, scan.files, scan.reused, *_count(scan.data))


def _count(data: ds.Dataset) -> tuple[dict[tuple[str, str | None], int], dict[str, tuple[int, int]]]:
    """`ScanSummary.status` and `.modalities`, the most frequent first."""
    status: Counter[tuple[str, str | None]] = Counter()
    images: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    for batch in data.to_batches(columns=["status", "code", "modality", "frames"]):
        kinds, codes, modalities, frames = (column.to_pylist() for column in batch.columns)
        status.update(zip(kinds, codes, strict=True))
        for kind, modality, count in zip(kinds, modalities, frames, strict=True):
            if kind == IMAGE:
                images[modality] += 1
                slices[modality] += count
    return dict(status.most_common()), {name: (images[name], count) for name, count in slices.most_common()}


def _check(options: ScanOptions, source: Path, private: Path) -> None:
    check_source(options.source, source)
    if not os.access(source, os.R_OK | os.X_OK):
        raise UsageError(f"--src {options.source} cannot be read: ask for permission, or give another folder")
    if private == source or source in private.parents:
        raise UsageError(
            f"--private {private} lies inside --src, so the next scan would find it: give a folder outside of {options.source}"
        )
    if private.exists() and not private.is_dir():
        raise UsageError(f"--private {private} is a file: give a folder")


@contextmanager
def _folder(private: Path) -> Iterator[None]:
    """The private folder, mode 0700; one that was made here goes again where nothing is left in it."""
    made = not private.exists()
    try:
        private.mkdir(0o700, parents=True, exist_ok=True)
        if made or not any(private.iterdir()):
            private.chmod(0o700)  # whatever the umask, or whoever made it
        elif not any((private / name).exists() for name in (CATALOG, JOURNAL, KEY, REVIEW)):
            raise UsageError(f"--private {private} exists and holds other things: give a new or an empty folder")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"--private {private} cannot be written ({reason}): give a folder where you may write"
        ) from None
    try:
        yield
    finally:
        if made and not any(private.iterdir()):
            private.rmdir()


def print_scan(summary: ScanSummary, console: Console) -> None:
    """Print what was found."""
    files = Table(title="input files", title_justify="left", box=None, pad_edge=False)
    files.add_column("")
    files.add_column("files", justify="right")
    for (status, code), count in summary.status.items():
        files.add_row(status if code is None else f"{status}: {code}", f"{count:,}")
    files.add_row("all", f"{summary.files:,}", end_section=True)
    images = Table(title="images", title_justify="left", box=None, pad_edge=False)
    images.add_column("modality")
    for name in ("files", "slices"):
        images.add_column(name, justify="right")
    for modality, numbers in summary.modalities.items():
        images.add_row(Text(modality or "(none)"), *(f"{number:,}" for number in numbers))
    console.print(Group(files, images))
    if summary.reused:
        console.print(Text(f"{summary.reused:,} files were known and were not read again"))
    console.print(Text(f"catalog of {summary.files:,} files in {summary.path}"))
