"""The loader process and processes forked from it, each with one thread: see `crew` for why.

The loader process plans, writes plans to boards that all of them see, and hands out pieces of a few draws; at most four lie with
each fork, so that none waits and none has much more to do than the others. In between it does draws itself, a few at a time. Forks are made
after the first draw, so that the compiled kernel, the index and all modules are shared memory. They end with the loader process,
and it ends with them: as they died.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from typing import Any, NoReturn

from numpy.typing import NDArray

from radload.loading import protocol
from radload.loading.board import Boards, Posted
from radload.loading.deliver import Deliverer
from radload.loading.job import Explain, Job, Outcome, work
from radload.loading.reader import Failure

BOARDS = 4  # batches whose pieces may be out at once: one that ends, one that begins, and two that were given up
_FEWEST = 2  # pieces that a fork has: the one that it does, and another
_OUT = 4  # and where they are quick: with two it ran out of work while the loader process planned (raw: 10,600 slices/s, 12,400 with four)
_STOCK = 5e-3  # seconds for which more than two are enough: the loader process plans some twenty batches at once, and does draws of its own
_GLANCE = 1e-3  # seconds that the loader process works before it looks whether somebody wants something
_MOST = 8  # draws in that time
_PIECE = struct.Struct("<qqq")  # board, first draw, the one after the last; a `Posted` follows where the batch is new
_DONE = struct.Struct("<q")  # draws out of the cache; JSON instead where there is more to say
_PR_SET_PDEATHSIG = 1  # prctl(2)

Slots = dict[int, dict[str, NDArray[Any]]]


@dataclass
class _Hand:
    """One process, as the loader process sees it."""

    pid: int
    channel: socket.socket
    out: deque[tuple[Job, int]] = field(default_factory=deque)  # pieces that it has: their batch, and their draws
    boards: dict[int, int] = field(default_factory=dict)  # batch that it knows to be on a board

    @property
    def draws(self) -> int:
        """That it has."""
        return sum(count for _, count in self.out)


class Token:
    """A lock between processes that were forked from one: a byte in a pipe. Who dies with it takes all of them along, see `Forks`."""

    def __init__(self) -> None:
        self._take, self._give = os.pipe()
        os.write(self._give, b"\0")

    def __enter__(self) -> None:
        os.read(self._take, 1)

    def __exit__(self, *exception: object) -> None:
        os.write(self._give, b"\0")

    def __del__(self) -> None:
        os.close(self._take)
        os.close(self._give)


class Forks:
    """A crew of this process and those that it forks.

    Args:
        count: of all of them. consumer: the channel that forks must not keep open.
        boards: made before the fork. slots: the arrays of each slot; map_slots: adds those of a file (see worker).
        deliverer: of this process. make: that of a fork, made in it. wanted, explain, finish: see crew.Threads. warn: sends a warning.
    """

    def __init__(
        self,
        count: int,
        consumer: socket.socket,
        boards: Boards,
        slots: Slots,
        map_slots: Callable[[int, int, int], None],
        deliverer: Deliverer,
        make: Callable[[Callable[[str], None]], Deliverer],
        wanted: Callable[[int], bool],
        explain: Explain,
        finish: Callable[[Job], None],
        warn: Callable[[str], None],
    ) -> None:
        self._count, self._consumer, self._boards, self._slots = count, consumer, boards, slots
        self._map, self._make = map_slots, make
        self._wanted, self._explain, self._finish, self._warn = wanted, explain, finish, warn
        self._deliverer, self._tools = deliverer, deliverer.tools()
        self._begun = False
        self._free = list(range(BOARDS))
        self._posted: dict[int, Posted | None] = {}  # by batch; None: too large for a board
        self._pieces: deque[tuple[Job, range]] = deque()
        self._own: tuple[Job, range] | None = None  # what this process does itself
        self._at_once = 1  # draws
        self._stock = 0  # draws that a fork should have
        self._hands: dict[int, _Hand] = {}  # by descriptor
        self._poll = select.poll()
        self._poll.register(consumer, select.POLLIN)

    def submit(self, job: Job) -> None:
        done = 0
        if not self._begun:
            self._begun, done = True, 1
            self._do(job, range(1))  # compiles the kernel, once for all
            self._fork()
        self._pieces.extend((job, piece) for piece in job.pieces(self._count, done))

    def map_slots(self, first: int, count: int, descriptor: int) -> None:
        """Hand a file of new slots on; those that were there before the fork are there already."""
        for hand in self._hands.values():
            try:
                protocol.send(hand.channel, {"first": first, "count": count}, (descriptor,))
            except ConnectionError:
                _die_as(hand.pid)

    def attend(self, channel: socket.socket) -> None:
        limit = time.monotonic() + (channel.gettimeout() or 0.0)
        while True:
            self._hand_out()
            busy = self._do_some()
            ready = self._poll.poll(0 if busy else max(0.0, limit - time.monotonic()) * 1000)
            if not (ready or busy):
                raise TimeoutError
            said = False
            for descriptor, _ in ready:
                if descriptor == channel.fileno():
                    said = True
                else:
                    self._hear(self._hands[descriptor])
            if said:
                return

    def close(self) -> None:
        for hand in self._hands.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(hand.pid, signal.SIGKILL)
        for hand in self._hands.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(hand.pid, 0)
        self._hands.clear()

    def _hand_out(self) -> None:
        """Give pieces to the forks that have fewest, in the order of the batches."""
        while self._pieces and self._hands:
            hand = min(self._hands.values(), key=lambda one: len(one.out))
            if len(hand.out) >= (_OUT if hand.draws < self._stock else _FEWEST):
                return
            job, piece = self._pieces[0]
            if self._given_up(job):
                self._pieces.popleft()
                self._done(job, len(piece), Outcome())
                continue
            posted = self._post(job)
            if posted is None:
                return  # this process's own business
            self._pieces.popleft()
            message = _PIECE.pack(posted.board, piece.start, piece.stop)
            if hand.boards.get(posted.board) != job.id:
                hand.boards[posted.board] = job.id
                message += json.dumps(astuple(posted)).encode()
            hand.out.append((job, len(piece)))
            try:
                hand.channel.send(message)
            except ConnectionError:
                _die_as(hand.pid)

    def _do_some(self) -> bool:
        """Do a few draws in this process, for a millisecond or two; whether there were any."""
        if self._own is None:
            if not self._pieces:
                return False
            self._own = self._pieces.popleft()
        job, piece = self._own
        if self._given_up(job):
            self._own = None
            self._done(job, len(piece), Outcome())
            return True
        count, began = self._at_once, time.perf_counter()
        self._own = (job, piece[count:]) if len(piece) > count else None
        self._do(job, piece[:count])
        spent = (time.perf_counter() - began) / min(count, len(piece))
        self._at_once, self._stock = max(1, min(_MOST, int(_GLANCE / spent))), int(_STOCK / spent)
        return True

    def _do(self, job: Job, piece: range) -> None:
        self._done(job, len(piece), work(self._deliverer, job, piece, self._tools, self._explain))

    def _given_up(self, job: Job) -> bool:
        return job.error is not None or not self._wanted(job.id)

    def _post(self, job: Job) -> Posted | None:
        """A batch on a board; None where it finds none."""
        if job.id not in self._posted:
            if not self._free:
                return None
            self._posted[job.id] = posted = self._boards.write(self._free[-1], job)
            if posted is not None:
                self._free.pop()
        return self._posted[job.id]

    def _done(self, job: Job, count: int, outcome: Outcome) -> None:
        if job.add(count, outcome):
            posted = self._posted.pop(job.id, None)
            if posted is not None:
                self._free.append(posted.board)
            self._finish(job)

    def _hear(self, hand: _Hand) -> None:
        """All that a fork has said: one message per turn left it without pieces as soon as it was the faster one."""
        while True:
            try:
                data = hand.channel.recv(protocol.MESSAGE_LIMIT, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                _die_as(hand.pid)
            if len(data) == _DONE.size:
                self._done(*hand.out.popleft(), Outcome(hits=_DONE.unpack(data)[0]))
                continue
            message = json.loads(data)
            if "warning" in message:
                self._warn(message["warning"])
                continue
            named = tuple(Failure(*one) for one in message["named"])
            counts = Counter({(shard, kind): count for shard, kind, count in message["counts"]})
            self._done(
                *hand.out.popleft(), Outcome(message["failed"], message["hits"], named, counts, message["error"])
            )

    def _fork(self) -> None:
        if self._count < 2:
            return
        gc.collect()
        gc.freeze()  # or the next collection would write to every page that holds an object
        parent = os.getpid()
        for _ in range(self._count - 1):
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                pid = os.fork()
            except OSError as error:
                self._warn(
                    f"only {len(self._hands) + 1} of {self._count} loader processes could be started ({error.strerror}): "
                    "raise the limit of processes and files (ulimit -u, -n), or take fewer threads"
                )
                return
            if pid == 0:
                self._begin(parent, theirs, ours)
            theirs.close()
            self._hands[ours.fileno()] = _Hand(pid, ours)
            self._poll.register(ours, select.POLLIN)

    def _begin(self, parent: int, channel: socket.socket, ours: socket.socket) -> NoReturn:
        """The life of a forked process."""
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                for other in (self._consumer, ours, *(hand.channel for hand in self._hands.values())):
                    other.close()  # or nobody would see that its other side is gone
                self._serve(channel)
        except OSError:
            os._exit(1)  # the loader process is gone
        except BaseException:  # noqa: BLE001 - a forked process: nobody else would say it
            traceback.print_exc()  # or its loader would end without a reason
            os._exit(1)
        finally:
            os._exit(0)  # nothing of the loader process's own end happens twice

    def _serve(self, channel: socket.socket) -> None:
        deliverer = self._make(lambda sentence: protocol.send(channel, {"warning": sentence}))
        tools = deliverer.tools()
        jobs: dict[int, Job] = {}  # by board
        while True:
            data, descriptors, _, _ = socket.recv_fds(channel, protocol.MESSAGE_LIMIT, 1)
            if not data:
                return
            if descriptors:
                message = json.loads(data)
                self._map(message["first"], message["count"], descriptors[0])
                continue
            board, start, stop = _PIECE.unpack_from(data)
            if len(data) > _PIECE.size:
                posted = Posted.of(json.loads(data[_PIECE.size :]))
                jobs[board] = self._boards.read(posted, self._slots[posted.slot])
            outcome = work(deliverer, jobs[board], range(start, stop), tools, self._explain)
            if not outcome.failed and outcome.error is None:
                channel.send(_DONE.pack(outcome.hits))
                continue
            protocol.send(
                channel,
                {
                    "failed": outcome.failed,
                    "hits": outcome.hits,
                    "named": [astuple(one) for one in outcome.named],
                    "counts": [[*where, count] for where, count in (outcome.counts or {}).items()],
                    "error": outcome.error,
                },
            )


def _die_as(pid: int) -> NoReturn:
    """A forked process is gone: so is its loader, in the same way, for the consumer to name."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one dump is enough
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) and os.WEXITSTATUS(status) else 1)
