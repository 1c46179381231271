"""What `radload bench` may be asked, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radload.bench.needs import find_published
from radload.dataset.files import check_report
from radload.errors import UsageError
from radload.loading.planning.recipe import read_window

MIN_SECONDS, MAX_SECONDS = 1.0, 3600.0


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """One measurement.

    Attributes:
        shards: folder of the data set; split: "train", "val", "test", or None for all.
        size, batch_size, channels, augment, threads: as of `radload.Loader`.
        window: None, a preset's name, "file", or "CENTRE,WIDTH".
        seconds: that measuring takes, start-up apart.
        arch, gpu: a network and a card whose published need is looked up; measure_arch: the network is measured here instead.
        json: file for the figures.
        level_slack: as of `radload.Loader`.
    """

    shards: Path
    split: str | None = "train"
    size: int = 224
    window: str | None = None
    channels: int = 3
    augment: str | None = None
    batch_size: int = 64
    threads: int | None = None
    seconds: float = 15.0
    arch: str | None = None
    gpu: str | None = None
    measure_arch: bool = False
    json: Path | None = None
    level_slack: float = 1.0

    @property
    def loader_window(self) -> str | tuple[float, float] | None:
        """`window` as the Loader takes it. Raises UsageError."""
        return read_window(self.window)


def check_options(options: BenchOptions) -> None:
    """UsageError for options that cannot be used, or that do not fit together; what the Loader checks is left to it."""
    if not MIN_SECONDS <= options.seconds <= MAX_SECONDS:
        raise UsageError(
            f"--seconds {options.seconds:g} cannot be used: give {MIN_SECONDS:g} to {MAX_SECONDS:,.0f}, 15 is enough on a quiet machine"
        )
    _ = options.loader_window
    if options.json is not None:
        check_report("--json", options.json)
    if options.arch is None:
        if options.gpu is not None or options.measure_arch:
            raise UsageError("--gpu and --measure-arch ask what a network needs: say which, as in --arch resnet50")
        return
    if options.measure_arch:
        if options.gpu is not None:
            raise UsageError(
                "--gpu looks a published figure up, --measure-arch measures on this machine: give one of them"
            )
    elif options.gpu is None:
        raise UsageError(
            f"--arch {options.arch} needs a card (--gpu h200) for a published figure, or --measure-arch to measure it on this machine"
        )
    else:
        find_published(options.arch, options.gpu)
