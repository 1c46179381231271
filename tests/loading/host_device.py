"""A device of the host that behaves as badly as a GPU may: streams work late, in any order that events allow, and freed memory is spoilt.

Uploads from page-locked memory are read when the stream gets there, so a slot that was given back too early shows. Memory that was
dropped is overwritten in MAIN's order, as torch's allocator would give it out again; decoded images at once, as nobody promises more.
"""

from __future__ import annotations

import ctypes
import random
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import fused_host
import numpy as np
import torch
from numpy.typing import NDArray

from radload.codecs.verdicts import Verdicts
from radload.errors import UsageError
from radload.kernels import gpu as kernel
from radload.kernels.prepare import SAMPLE
from radload.loading.gpu.decoder import DALI, open_decoder
from radload.loading.gpu.device import MAIN, SIDE, Render, Stream

POISON = 0xA5


@dataclass
class HostEvent:
    """A mark in a queue."""

    host: HostDevice
    stream: Stream
    done: bool = False

    def query(self) -> bool:
        self.host.work(self.host.rng.randrange(3))
        return self.done

    def synchronize(self) -> None:
        while not self.done:
            if not self.host.work(1):
                raise RuntimeError("the streams wait for each other")


class HostDevice:
    """See the module's text; `build(planes)` gives the kernel's library."""

    def __init__(self, build: Callable[[int], ctypes.CDLL], seed: int = 0, pins: bool = True) -> None:
        self.place = torch.device("cpu")
        self.rng = random.Random(seed)
        self.build, self.pins = build, pins
        self.queues: dict[Stream, deque[tuple[Callable[[], None], HostEvent | None]]] = {MAIN: deque(), SIDE: deque()}
        self.memory: list[
            NDArray[np.uint8]
        ] = []  # never given back to the system: late work must hit poison, not a hole
        self.freed: set[int] = set()  # addresses of memory that is not used any more
        self.pinned: dict[int, int] = {}
        self.most_pinned = 0
        self.copied = {"pinned": 0, "pageable": 0}
        self.decoders: list[HostDecoder] = []
        self.names: tuple[str, ...] = (DALI,)  # of decoders that are installed
        self.verdicts = Verdicts(None, "")

    # -- what tests use
    def work(self, steps: int) -> bool:
        """Do up to `steps` pieces of work, of streams chosen at random; whether there was any that could be done."""
        for _ in range(steps):
            ready = [q for q in self.queues.values() if q and (q[0][1] is None or q[0][1].done)]
            if not ready:
                return False
            self.rng.choice(ready).popleft()[0]()
        return True

    def finish(self) -> None:
        while any(self.queues.values()):
            if not self.work(1):
                raise RuntimeError("the streams wait for each other")

    def allocate(self, size: int, freed: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.uint8]:
        memory = np.full(max(size, 1), POISON, np.uint8)
        self.memory.append(memory)
        array = memory[:]

        def drop(memory: NDArray[np.uint8]) -> None:
            freed(memory)
            self.freed.add(memory.ctypes.data)

        weakref.finalize(array, drop, memory).atexit = False
        return array

    def live(self) -> int:
        """Bytes that are in use. All work is done first, and what was freed goes back to the system."""
        self.finish()
        self.memory = [one for one in self.memory if one.ctypes.data not in self.freed]
        self.freed.clear()
        return sum(one.nbytes for one in self.memory)

    def put(self, stream: Stream, work: Callable[[], None], after: HostEvent | None = None) -> None:
        self.queues[stream].append((work, after))

    def legal(self, count: int, sources: int, samples: int) -> bool:
        """Whether a launch would read memory of this device only; on a GPU that is an illegal access, here its output stays NaN."""
        source = _records(sources, count, kernel.SOURCE)
        sample = _records(samples, count, SAMPLE)
        there = source["address"] != 0
        if not np.all((source["dtype"][there] >= 0) & (source["dtype"][there] < 4) & (sample["level"][there] < 31)):
            return False
        spans = [(m.ctypes.data, m.ctypes.data + m.nbytes) for m in self.memory]
        for one in source[there]:
            size = int(one["rows"]) * int(one["cols"]) * (1, 2, 2, 4)[one["dtype"]]
            first = int(one["address"])
            if size < 1 or not any(low <= first and first + size <= high for low, high in spans):
                return False
        return True

    # -- device.Device
    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        def spoil(memory: NDArray[np.uint8]) -> None:
            self.put(MAIN, lambda: memory.fill(POISON))

        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return torch.from_numpy(self.allocate(size, spoil))[:size].view(dtype).view(shape)

    def pin(self, memory: NDArray[np.uint8]) -> bool:
        if self.pins:
            assert memory.ctypes.data % 4096 == 0 and memory.nbytes % 4096 == 0
            self.pinned[memory.ctypes.data] = memory.nbytes
            self.most_pinned = max(self.most_pinned, sum(self.pinned.values()))
        return self.pins

    def unpin(self, memory: NDArray[np.uint8]) -> None:
        assert self.pinned.pop(memory.ctypes.data) == memory.nbytes

    def upload(self, source: NDArray[np.uint8], to: torch.Tensor) -> None:
        assert source.nbytes == to.numel() * to.element_size() and source.flags.c_contiguous
        first, last = source.ctypes.data, source.ctypes.data + source.nbytes
        locked = any(p <= first and last <= p + n for p, n in self.pinned.items())
        assert locked or not any(first < p + n and p < last for p, n in self.pinned.items()), "across a lock's edge"
        self.copied["pinned" if locked else "pageable"] += source.nbytes
        read = source if locked else source.copy()
        target = to.data_ptr()
        self.put(SIDE, lambda: ctypes.memmove(target, read.ctypes.data, read.nbytes) and None)

    def copy(self, source: int, to: torch.Tensor) -> None:
        target, size = to.data_ptr(), to.numel()
        assert to.dtype == torch.uint8
        self.put(MAIN, lambda: ctypes.memmove(target, source, size) and None)

    def mark(self, stream: Stream) -> HostEvent:
        event = HostEvent(self, stream)
        self.put(stream, lambda: setattr(event, "done", True))
        return event

    def wait(self, stream: Stream, event: HostEvent) -> None:
        self.put(stream, lambda: None, event)

    def kernel(self, planes: int, output: kernel.Output) -> Render:
        library = self.build(planes)

        def render(launch: kernel.Launch) -> None:
            size = launch.count // int(launch.to["slices"][0]) * int(launch.to["image"][0])
            launch = replace(launch, to=launch.to.copy())

            def work() -> None:
                plain = np.full(size, np.nan, np.float32)
                if self.legal(launch.count, launch.sources, launch.samples):
                    fused_host.launch(library, replace(launch, out=plain.ctypes.data))
                rounded = torch.from_numpy(plain).to(getattr(torch, output)).contiguous()
                ctypes.memmove(launch.out, rounded.data_ptr(), size * rounded.element_size())

            self.put(MAIN, work)

        return render

    def decoder(self, batch_size: int, name: str) -> HostDecoder:
        if name not in self.names:
            raise UsageError(f"{name} is not installed")
        self.decoders.append(HostDecoder(self, batch_size, name))
        return self.decoders[-1]


class HostDecoder:
    """A decoder's CPU form, whose images appear when SIDE gets there. `fault(i, image)` may change what it makes of stream i."""

    def __init__(self, host: HostDevice, batch_size: int, name: str) -> None:
        self.host, self.name, self.inner = host, name, open_decoder(name, batch_size, None)
        self.fault: Callable[[int, NDArray[np.uint16]], NDArray[np.uint16]] | None = None
        self.calls = self.streams = 0

    def decode(self, data: list[NDArray[np.uint8]]) -> HostImages:
        self.calls += 1
        self.streams += len(data)
        found = self.inner.decode([d.copy() for d in data])
        images = [np.ascontiguousarray(found.pixels(i)) for i in range(len(data))]
        if self.fault is not None:
            images = [self.fault(i, image) for i, image in enumerate(images)]
        return HostImages(self.host, images)


class HostImages:
    def __init__(self, host: HostDevice, images: list[NDArray[np.uint16]]) -> None:
        self.host = host
        self.places = []
        for image in images:
            place = host.allocate(image.nbytes, lambda memory: memory.fill(POISON))
            self.places.append((place, image.shape))
            host.put(SIDE, lambda target=place.ctypes.data, image=image: ctypes.memmove(target, image.ctypes.data, image.nbytes) and None)  # type: ignore[misc]  # fmt: skip

    def addresses(self) -> list[int]:
        return [int(place.ctypes.data) for place, _ in self.places]

    def pixels(self, i: int) -> NDArray[np.uint16]:
        self.host.mark(SIDE).synchronize()
        place, shape = self.places[i]
        return place.view(np.uint16).reshape(shape).copy()


def _records(address: int, count: int, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype)


def libraries(folder: Path) -> Callable[[int], ctypes.CDLL]:
    """Builds each kernel once."""
    built: dict[int, ctypes.CDLL] = {}

    def build(planes: int) -> ctypes.CDLL:
        if planes not in built:
            built[planes] = fused_host.build(folder, planes)
        return built[planes]

    return build
