"""Compressed frames of a shard, decoded on a device some files ahead of their reader, and held against the CPU's decoder.

The reader goes on as it does without a device, and asks for a frame's components before it decodes them itself: what the device refuses,
or may not have, costs nothing but the CPU's time, and the shard's bytes are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from radload.codecs.verdicts import Verdicts
from radload.errors import RadloadError
from radload.pack.plan import ShardJob
from radload.pack.worker import DEVICE
from radload.sources import NotAnImage, Refused
from radload.sources.dicom_codestreams import Ahead, components
from radload.sources.open import coded_frames

BATCH_FRAMES: Final = 64
BATCH_BYTES: Final = 64 << 20  # of decoded values in one batch
_REFUSALS: Final = 3  # batches in a row; then the device is not asked any more


class FrameDecoder(Protocol):
    """Decodes batches of codestreams on a device. name: of the software."""

    name: str

    def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
        """As `dicom_codestreams.components`, on the host; None for a stream that is refused. Raises RuntimeError where all fails."""


class Distrusted(RadloadError):
    """A shard holds frames of a kind that the device has decoded wrongly later: it is packed again without the device."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A codestream, what it is (`dicom_codestreams.kind_of`), its components, and the size of its values in bytes."""

    stream: bytes
    kind: str
    samples: int
    size: int

    @property
    def syntax(self) -> str:
        """Transfer syntax."""
        return self.kind.partition(" ")[0]


@dataclass
class DeviceFrames:
    """A decoder under guard: of each kind of stream all of the first batch is compared with the CPU's values where this machine has not
    done so before, and later the first frame in each shard, and every image of one value alone, which is how a decoder fails in silence.

    Attributes:
        decoded: frames that came from the device; wrong: kinds that it does not decode as the CPU does, with why.
        broken: why it is not asked any more. tainted: the present shard may hold wrong frames.
    """

    decoder: FrameDecoder
    verdicts: Verdicts
    decoded: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    broken: str | None = None
    tainted: bool = False
    _whole: set[str] = field(default_factory=set)  # kinds of which a whole batch was equal
    _seen: set[str] = field(default_factory=set)  # kinds that were compared in this shard
    _given: set[str] = field(default_factory=set)  # kinds of which this shard has frames
    _refused: Counter[str] = field(default_factory=Counter)  # batches in a row, by kind
    _failed: int = 0

    def begin(self) -> None:
        """A shard begins."""
        self.tainted = False
        self._seen.clear()
        self._given.clear()

    def takes(self, kind: str) -> bool:
        """Whether streams of a kind should be given to it."""
        if self.broken is not None or kind in self.wrong or self._refused[kind] >= _REFUSALS:
            return False
        if self.verdicts.of(self._codec(kind)) is False:
            self.wrong[kind] = "found on this machine before"
            return False
        return True

    def decode(self, batch: Sequence[Coded]) -> dict[bytes, NDArray[Any]]:
        """Components of those streams that it could decode."""
        try:
            found = self.decoder.decode([one.stream for one in batch])
        except (RuntimeError, ValueError, MemoryError) as error:
            self._failed += 1
            if self._failed >= _REFUSALS:
                self.broken = f"it failed {_REFUSALS} times in a row, {type(error).__name__}"
            return {}
        self._failed = 0
        result: dict[bytes, NDArray[Any]] = {}
        for kind in dict.fromkeys(one.kind for one in batch):
            mine = [(one, values) for one, values in zip(batch, found, strict=True) if one.kind == kind]
            there = [(one, values) for one, values in mine if values is not None]
            self._refused[kind] = 0 if there else self._refused[kind] + 1
            good = self._checked(kind, there)
            if good:
                result.update(good)
                self._given.add(kind)
                self.decoded += len(good)
        return result

    def _checked(self, kind: str, found: Sequence[tuple[Coded, NDArray[Any]]]) -> dict[bytes, NDArray[Any]]:
        """What may be used of a batch's images of one kind, after those that are looked at were the CPU's; nothing where one was not."""
        whole = kind not in self._whole and self.verdicts.of(self._codec(kind)) is None
        good: dict[bytes, NDArray[Any]] = {}
        for one, values in found:
            if whole or kind not in self._seen or not values.size or values.min() == values.max():
                expected = _by_cpu(one)
                if (
                    expected is None
                ):  # a damaged stream, of which each decoder makes what it will: the CPU's refusal stands
                    continue
                reason = _difference(values, expected)
                if reason is not None:
                    self.wrong[kind] = reason
                    self.verdicts.note(self._codec(kind), False)
                    self.tainted |= kind in self._given
                    return {}
                self._seen.add(kind)
            good[one.stream] = values
        if whole and good:
            self._whole.add(kind)
            self.verdicts.note(self._codec(kind), True)
        return good

    def _codec(self, kind: str) -> str:
        return f"{self.decoder.name} {kind}"


def _by_cpu(one: Coded) -> NDArray[Any] | None:
    """The CPU's components, None where it refuses the stream."""
    try:
        return components(one.stream, one.syntax, one.samples)
    except (RuntimeError, ValueError):
        return None


def _difference(values: NDArray[Any], expected: NDArray[Any]) -> str | None:
    """How a device's values differ from the CPU's; None where they are equal."""
    if values.dtype != expected.dtype or values.shape != expected.shape:
        return f"{values.dtype} values of shape {values.shape} in place of {expected.dtype}, {expected.shape}"
    return None if np.array_equal(values, expected) else "values differ"


class LookAhead:
    """The frames of one shard, in the order in which they are read: a batch of them is decoded when the first of it is asked for."""

    def __init__(self, job: ShardJob, frames: DeviceFrames) -> None:
        self._frames = frames
        self._place = {file.row: i for i, file in enumerate(file for series in job.series for file in series.files)}
        self._held: dict[bytes, NDArray[Any]] = {}
        self._reached = 0  # place of the file that was looked at last
        self._tell: Callable[[int], None] = lambda item: None
        self._coming = self._streams(job)
        frames.begin()

    def of(self, row: int, tell: Callable[[int], None]) -> Ahead:
        """For the reader of the file in catalog row `row`. tell: as `beat`, for the files looked at meanwhile."""

        def find(stream: bytes) -> NDArray[Any] | None:
            if stream not in self._held and self._place[row] >= self._reached:
                self._tell = tell
                self._held = {}  # before the next batch: they are not asked for any more
                self._held = self._next_batch()
                tell(row)
            return self._held.get(stream)

        return find

    def _next_batch(self) -> dict[bytes, NDArray[Any]]:
        batch: list[Coded] = []
        size = 0
        for one in self._coming:
            batch.append(one)
            size += one.size
            if len(batch) >= BATCH_FRAMES or size >= BATCH_BYTES:
                break
        self._tell(DEVICE)
        return self._frames.decode(batch) if batch else {}

    def _streams(self, job: ShardJob) -> Iterator[Coded]:
        """What the device may decode; a file that cannot be read is its reader's business."""
        for series in job.series:
            for file in series.files:
                if file.row in job.skip or file.header.format != "dicom":
                    continue
                header, chosen = file.header, set(file.chosen)
                last = max(chosen, default=-1)
                size = header.rows * header.cols * header.channels * max(header.bits // 8, 1)
                self._reached = self._place[file.row]
                self._tell(file.row)
                try:
                    for frame, stream, kind in coded_frames(job.root / header.source):
                        if frame > last:
                            break
                        if frame in chosen and self._frames.takes(kind):
                            yield Coded(stream, kind, header.channels, size)
                except (Refused, NotAnImage, OSError, MemoryError):
                    continue
        self._reached = len(self._place)
