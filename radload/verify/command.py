"""What `radload verify` does and prints: a line per problem as it is found, then what was looked at; progress on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from radload.errors import UsageError
from radload.pack.display import Display
from radload.pack.options import check_timeout
from radload.verify.every import verify_all
from radload.verify.problem import Problem
from radload.verify.repack import repack
from radload.verify.repair import drop
from radload.verify.run import Report, verify

REPAIRS: Final = ("drop", "repack")
ALL: Final = "all"  # --version: each that may be opened


def run(
    shards: Path,
    *,
    quick: bool,
    levels: bool,
    version: str | None,
    repair: str | None,
    workers: int | None,
    source: Path | None,
    private: Path | None,
    files: Mapping[str, Path],
    quiet: bool,
    timeout: float = 120.0,
) -> bool:
    """Verify, and repair where asked to. Returns whether the data set is whole in the end.

    Raises:
        UsageError: no data set, or an option that cannot be used.
    """
    if repair is not None and repair not in REPAIRS:
        raise UsageError(f"--repair {repair} is unknown: choose one of {', '.join(REPAIRS)}")
    if repair is not None and quick:
        raise UsageError("--repair and --quick exclude each other: only a full look says which samples are good")
    if quick and levels:
        raise UsageError("--quick and --levels exclude each other: a quick look decodes nothing")
    if repair is not None and version is not None:
        raise UsageError("--repair and --version exclude each other: the current version is the one that is repaired")
    check_timeout(timeout)
    if repair == "repack" and source is None:
        raise UsageError("--repair repack reads the source again: give its folder by --src")
    out, progress = Console(soft_wrap=True), None if quiet else Console(stderr=True)
    if version == ALL:
        return _all(shards, quick, levels, workers, out, progress)
    report = _verified(shards, quick, levels, version, workers, out, progress)
    if not quiet:
        out.print(Text(summary(report)))
    if repair is None or report.whole:
        return report.whole
    if repair == "drop":
        dropped = drop(shards, report)
        out.print(
            Text(
                f"version {dropped.generation} leaves out {dropped.samples:,} samples; versions before are as damaged as they were; "
                f"new shards: {', '.join(dropped.written) or 'none'}"
            )
        )
        return _verified(shards, False, levels, None, workers, out, progress).whole
    return _repacked(shards, report, workers, source or Path(), private, files, out, progress, timeout)


def _all(shards: Path, quick: bool, levels: bool, workers: int | None, out: Console, progress: Console | None) -> bool:
    """Verify each version that may be opened, the newest first; a shard that several versions have is read once.

    What is wrong with such a shard is wrong in each of them, and is said of the newest.
    """

    def say(version: int, problem: Problem) -> None:
        out.print(Text(f"version {version}: {problem}"))

    whole = True
    with Display(progress) as display:
        for report, known in verify_all(
            shards, quick=quick, levels=levels, workers=workers, on_problem=say, display=display
        ):
            whole &= report.whole
            if progress is not None:
                shared = f"; {known:,} shards are looked at in a newer version" if known else ""
                out.print(Text(f"version {report.generation}: {summary(report)}{shared}"))
    return whole


def _repacked(
    shards: Path,
    report: Report,
    workers: int | None,
    source: Path,
    private: Path | None,
    files: Mapping[str, Path],
    out: Console,
    progress: Console | None,
    timeout: float,
) -> bool:
    if not report.index_ok:
        raise UsageError(
            "the index is damaged, and it says what a shard must be: restore it from a copy, or pack again"
        )
    damaged = {problem.shard for problem in report.problems if problem.shard.endswith(".tar")}
    with Display(progress) as display:
        done = repack(shards, damaged, source, private, workers=workers, display=display, files=files, timeout=timeout)
    out.print(Text(f"written anew from the source: {', '.join(done.restored) or 'none'}"))
    if done.differing:
        out.print(
            Text(
                f"the source gives other bytes than before for {', '.join(done.differing)} (it was changed, or the tools have other "
                "versions): restore them from a copy, or leave the samples out by --repair drop"
            )
        )
    return _verified(shards, False, False, None, workers, out, progress).whole


def _verified(
    shards: Path,
    quick: bool,
    levels: bool,
    version: str | None,
    workers: int | None,
    out: Console,
    progress: Console | None,
) -> Report:
    def say(problem: Problem) -> None:
        out.print(Text(str(problem)))

    with Display(progress) as display:
        return verify(
            shards, quick=quick, levels=levels, version=version, workers=workers, on_problem=say, display=display
        )


def summary(report: Report) -> str:
    """The last line."""
    if not report.index_ok:
        return f"{len(report.problems):,} problems in the index; the shards were not looked at"
    looked = "structure and sizes" if report.quick else "every byte"
    unlisted = f", {report.unlisted:,} members that the index does not use" if report.unlisted else ""
    what = f"{looked} of {report.shards:,} shards with {report.samples:,} samples looked at{unlisted}"
    if report.whole:
        return f"whole: {what}"
    return f"{len(report.problems):,} problems, {len(report.bad):,} samples that cannot be used: {what}"
