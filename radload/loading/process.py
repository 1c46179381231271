"""The consumer's side of a loader process: start it, ask it for batches, notice when it fails, end it. No thread, no torch."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from radload import errors
from radload.errors import RadloadError
from radload.loading import protocol
from radload.loading.reader import Failure
from radload.loading.ring import Layout, Ring, Slot

LOOK = 0.5  # seconds between looks at whether the process lives
STALL = 300.0  # seconds without any batch after which the process counts as stuck; compiling the kernel takes up to 60
_PATIENCE = 1.5  # seconds for a process that has closed its channel to be gone
_GRACE = 0.1  # seconds to end by itself when its consumer closes; it holds nothing that must be saved

Settled = tuple[list[int], list[int]]  # ids of batches: copied to where the device keeps images, and given up
NOTHING: Settled = ([], [])

_log = logging.getLogger("radload")

_START = "import sys; sys.path.append({root!r}); from radload.loading.worker import main; main({descriptor})"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One finished batch: its slot, what could not be read (`failed` in number, the first of them by name, and counts by
    (shard, kind)), and how many draws came out of the cache."""

    epoch: int
    step: int
    slot: Slot
    failed: int
    failures: tuple[Failure, ...]
    counts: dict[tuple[str, str], int]
    hits: int = 0


@dataclass(frozen=True, slots=True)
class _Request:
    id: int
    epoch: int
    step: int
    slot: Slot


class LoaderProcess:
    """A running loader process and the ring it writes to.

    Args:
        config: what the process needs; in_flight: requests it may hold at once; pinned: see Ring.
    """

    def __init__(self, config: protocol.Config, in_flight: int, pinned: bool = False) -> None:
        self.ring = Ring(Layout.of(config["fields"]), in_flight, pinned)
        self.in_flight = in_flight
        self._pending: deque[_Request] = deque()  # wanted, in order
        self._stale: dict[int, _Request] = {}  # asked for, no longer wanted
        self._done: dict[int, protocol.Message] = {}
        self._next = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = _spawn(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(LOOK)
        self._channel = ours
        self._finaliser = weakref.finalize(self, _end, self._process, ours, os.getpid())
        self._send(config)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def asked(self) -> int:
        """Batches asked for and not received."""
        return len(self._pending)

    def ask(self, epoch: int, step: int, share: float = 1.0, again: bool = False, settled: Settled = NOTHING) -> None:
        """Ask for a batch; answers come in the order of asking.

        Args:
            share: of its samples that are decoded where they could stay streams. again: goes before all that was asked for.
        """
        slot = self.ring.take()
        if slot is None:
            descriptor, first, count = self.ring.grow()
            try:
                self._send({"do": "slots", "first": first, "count": count}, (descriptor,))
            finally:
                os.close(descriptor)
            slot = self.ring.take()
            if slot is None:  # pragma: no cover - grow() has just added some
                raise RuntimeError("a ring that has grown has no slot")
        request = _Request(self._next, epoch, step, slot)
        self._next += 1
        self._send(
            {
                "do": "batch",
                "id": request.id,
                "slot": slot.number,
                "epoch": epoch,
                "step": step,
                "share": share,
                "done": settled[0],
                "gone": settled[1],
            }
        )
        if again:
            self._pending.appendleft(request)
        else:
            self._pending.append(request)

    def forget(self) -> None:
        """Give up everything that was asked for: the order has changed."""
        if not self._pending:
            return
        self._send({"do": "cancel", "before": self._next})
        for request in self._pending:
            if self._done.pop(request.id, None) is None:
                self._stale[request.id] = request
            else:
                self.ring.give_back(request.slot)
        self._pending.clear()

    def receive(self) -> Delivery:
        """The next batch that was asked for.

        Raises:
            RadloadError: the process failed, died, or is stuck; its own errors with their own type and sentence.
        """
        request = self._pending[0]
        limit = time.monotonic() + STALL
        while request.id not in self._done:
            try:
                received = protocol.receive(self._channel)
            except TimeoutError:
                if self._process.poll() is not None:
                    raise self._death() from None
                if time.monotonic() > limit:
                    raise self._stalled() from None
                continue
            except OSError:
                raise self._death() from None
            if received is None:
                raise self._death()
            self._note(received[0])
            limit = time.monotonic() + STALL  # it works, if for what is no longer wanted
        self._pending.popleft()
        message = self._done.pop(request.id)
        if "error" in message:
            self.ring.give_back(request.slot)
            raise _raised(message["error"])
        failures = tuple(Failure(*one) for one in message["failures"])
        counts = {(shard, kind): count for shard, kind, count in message["counts"]}
        return Delivery(request.epoch, request.step, request.slot, message["failed"], failures, counts, message["hits"])

    def _note(self, message: protocol.Message) -> None:
        if "warning" in message:
            _log.warning("%s", message["warning"])
            return
        if message["id"] is None:
            raise _raised(message["error"])
        stale = self._stale.pop(message["id"], None)
        if stale is not None:
            self.ring.give_back(stale.slot)
        else:
            self._done[message["id"]] = message

    def _send(self, message: protocol.Message | protocol.Config, descriptors: tuple[int, ...] = ()) -> None:
        limit = time.monotonic() + STALL
        while True:
            try:
                return protocol.send(self._channel, message, descriptors)
            except TimeoutError:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise self._death() from None
            except OSError:
                raise self._last_words() from None

    def _last_words(self) -> RadloadError:
        """Why the process is gone: the error that it sent before, or its end."""
        try:
            while (received := protocol.receive(self._channel)) is not None:
                self._note(received[0])
        except RadloadError as error:
            return error
        except OSError:
            pass
        return self._death()

    def _stalled(self) -> RadloadError:
        state, pid = _state(self.pid)
        look = {
            "T": f"it was stopped by a signal; continue it with `kill -CONT {pid}`",
            "t": "a debugger holds it",
            "D": "it waits for the storage of the shards, which hangs",
        }.get(state, "look whether the storage of the shards hangs")
        return RadloadError(
            f"the loader process (pid {self.pid}) has delivered nothing for {STALL:.0f} s: {look}; "
            "the run can be resumed from its last state"
        )

    def _death(self) -> RadloadError:
        try:
            code: int | None = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        if code is None:
            how = "does not answer any more"
        elif code < 0:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name})"
        else:
            how = f"ended by itself with code {code}"
        hint = {
            -signal.SIGKILL: ": the machine may have run out of memory; take fewer threads or a smaller prefetch",
            -signal.SIGBUS: ": a file of the index or of the labels was cut while it was read, or its disk failed",
        }.get(code or 0, "")
        return RadloadError(
            f"the loader process (pid {self.pid}) {how}{hint}; the run can be resumed from its last state"
        )

    def close(self) -> None:
        """End the process and give up its descriptors. Batches that were delivered stay valid."""
        self._finaliser()


def _state(pid: int) -> tuple[str, int]:
    """State of a process, its forks and their threads, one letter of proc(5), and whose: "D" where any waits for storage."""
    states = {}
    for one in (pid, *forks_of(pid)):
        for stat in Path(f"/proc/{one}/task").glob("*/stat"):
            try:
                states[stat.read_text("utf-8", "replace").rpartition(")")[2].split()[0]] = one
            except (OSError, IndexError):  # a thread that has just ended
                continue
    return next(((letter, states[letter]) for letter in "TtD" if letter in states), ("", pid))


def forks_of(pid: int) -> list[int]:
    """The processes that a loader process has forked."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it is gone, or this kernel does not say
        return []


def _spawn(channel: socket.socket) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).parents[2])
    command = _START.format(root=root, descriptor=channel.fileno())
    # Interpreter threads do the parallel work: a BLAS pool for the luma of colour images would only take their cores.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", command],
        stdin=subprocess.DEVNULL,
        pass_fds=(channel.fileno(),),
        env=environment,
        process_group=0,  # Ctrl-C reaches the parent only; the socket tells this one when it is over
    )


def _end(process: subprocess.Popen[bytes], channel: socket.socket, owner: int) -> None:
    """Close the channel, which ends the process, and collect it. In a forked copy of the owner: close, and no more."""
    channel.close()
    if os.getpid() != owner:
        return
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _raised(error: protocol.Message) -> RadloadError:
    """The process's error as this process's exception."""
    kind = {c.__name__: c for c in (errors.UsageError, errors.FormatError, errors.CorruptSample)}.get(error["kind"])
    if kind is not None or error["kind"]:
        return (kind or RadloadError)(error["text"])
    failure = RadloadError(
        f"the loader process failed ({error['text']}): this is a defect of radload, please report it"
    )
    failure.add_note(error.get("detail", ""))
    return failure
