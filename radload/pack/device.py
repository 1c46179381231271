"""`--decode-device cuda`: who decodes compressed frames on a GPU in each worker process, and what is said about it in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pydicom.uid import UID

from radload.codecs.nvimgcodec import HostFrames
from radload.codecs.verdicts import Verdicts, open_verdicts
from radload.errors import UsageError
from radload.pack.ahead import DeviceFrames, Distrusted, FrameDecoder
from radload.pack.job import pack_shard
from radload.pack.plan import ShardJob
from radload.pack.summary import PackSummary
from radload.pack.worker import Beat


@dataclass(frozen=True, slots=True)
class Report:
    """What the device did for one shard: frames decoded, kinds of streams that it got wrong with why, why it was given up."""

    decoded: int = 0
    wrong: tuple[tuple[str, str], ...] = ()
    broken: str | None = None


class DevicePacker:
    """`job.pack_shard`, with a device's help; a worker process has one, which opens the decoder when it is first needed.

    Args:
        open_decoder, find_verdicts: importable by name.
    """

    def __init__(
        self,
        open_decoder: Callable[[], FrameDecoder],
        find_verdicts: Callable[[], Verdicts] = open_verdicts,
    ) -> None:
        self._open, self._find = open_decoder, find_verdicts
        self._frames: DeviceFrames | None = None
        self._closed: str | None = None  # why there is no decoder

    def __call__(self, job: ShardJob, beat: Beat) -> Report:
        """Pack a shard; one that has cost a worker is packed by the CPU alone, so that a device costs no file."""
        frames = None if job.tried or job.skip else self._opened()
        if frames is None:
            pack_shard(job, beat)
            return Report(broken=self._closed)
        before = frames.decoded
        try:
            pack_shard(job, beat, frames)
        except Distrusted:  # what it decoded before may be wrong as well
            before = frames.decoded
            pack_shard(job, beat)
        return Report(frames.decoded - before, tuple(frames.wrong.items()), frames.broken)

    def _opened(self) -> DeviceFrames | None:
        if self._frames is None and self._closed is None:
            try:
                self._frames = DeviceFrames(self._open(), self._find())
            except (UsageError, RuntimeError, ValueError, OSError, MemoryError) as error:
                self._closed = f"it cannot be opened, {type(error).__name__}"
        return self._frames


@dataclass
class Account:
    """Reports of all shards, put together."""

    decoded: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    broken: Counter[str] = field(default_factory=Counter)  # shards by why

    def add(self, report: Report) -> None:
        """A shard is finished."""
        self.decoded += report.decoded
        for kind, reason in report.wrong:
            self.wrong.setdefault(kind, reason)
        if report.broken is not None:
            self.broken[report.broken] += 1

    def failed(self, hung: bool) -> None:
        """A worker ended while the device was at work."""
        self.broken["a worker process hung in it" if hung else "a worker process ended in it"] += 1

    def notes(self) -> tuple[str, ...]:
        """Sentences for the user: one for each transfer syntax that the CPU has decoded in its place, and one for the whole."""
        said = [f"the GPU decoded {self.decoded:,} frames"]
        syntaxes: dict[str, list[str]] = {}
        for kind, reason in sorted(self.wrong.items()):
            syntaxes.setdefault(kind.partition(" ")[0], []).append(reason)
        said += [
            f"the GPU does not decode {UID(syntax).name} as the CPU does ({reasons[0]}): the CPU decoded it"
            for syntax, reasons in syntaxes.items()
        ]
        said += [
            f"the GPU was not used for {count:,} shards: {reason}" for reason, count in sorted(self.broken.items())
        ]
        return tuple(said)


@dataclass(frozen=True)
class Device:
    """What decodes beside the CPU: in the workers, and what it did."""

    packer: DevicePacker
    account: Account = field(default_factory=Account)


def open_cuda() -> FrameDecoder:
    """The decoder of the first CUDA device that this process sees."""
    return HostFrames(0)


def find_device(name: str) -> Device | None:
    """What `--decode-device` means; None for the CPU."""
    return None if name == "cpu" else Device(DevicePacker(open_cuda))


def with_notes(summary: PackSummary, device: Device | None) -> PackSummary:
    """A summary that says what the device did."""
    return summary if device is None else replace(summary, notes=(*summary.notes, *device.account.notes()))
