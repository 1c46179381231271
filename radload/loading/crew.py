"""Who does the pieces of a batch: threads of the loader process, or processes forked from it.

Processes are faster. Between its four or five calls of compiled code a slice takes some 16 microseconds of interpreter, and two
threads that wait for one lock lose far more than that: with raw shards the second of two gave nothing (7,500 slices/s with one thread,
7,300 with two, 14,300 with two processes), with half levels a seventh of what two processes gave.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Protocol

from radload.loading.deliver import Deliverer
from radload.loading.job import Explain, Job, Outcome, work


class Crew(Protocol):
    """Does batches, in order; says by a callback that all pieces of one are done."""

    def submit(self, job: Job) -> None:
        """Take a batch on, whose slot is prepared; it has at least one draw."""

    def map_slots(self, first: int, count: int, descriptor: int) -> None:
        """There are more slots, in this file."""

    def attend(self, channel: socket.socket) -> None:
        """Do what is due until the consumer has said something. Raises TimeoutError after the channel's time-out."""

    def close(self) -> None:
        """End it, at once."""


class Threads:
    """Threads of this process.

    Args:
        wanted: whether a batch of this id is still wanted; the pieces of others are skipped.
        finish: called once for each batch, in a thread.
    """

    def __init__(
        self,
        count: int,
        deliverer: Deliverer,
        wanted: Callable[[int], bool],
        explain: Explain,
        finish: Callable[[Job], None],
    ) -> None:
        self._count, self._deliverer = count, deliverer
        self._wanted, self._explain, self._finish = wanted, explain, finish
        self._lock = Lock()
        self._queue: SimpleQueue[tuple[Job, range]] = SimpleQueue()
        for _ in range(count):
            Thread(target=self._work, daemon=True).start()

    def submit(self, job: Job) -> None:
        for piece in job.pieces(self._count):
            self._queue.put((job, piece))

    def map_slots(self, first: int, count: int, descriptor: int) -> None:
        return

    def attend(self, channel: socket.socket) -> None:
        return

    def close(self) -> None:
        return  # they end with the process, in the middle of a decode that nobody wants

    def _work(self) -> None:
        tools = self._deliverer.tools()
        while True:
            job, piece = self._queue.get()
            outcome = Outcome()
            if self._wanted(job.id) and job.error is None:
                outcome = work(self._deliverer, job, piece, tools, self._explain)
            with self._lock:
                last = job.add(len(piece), outcome)
            if last:
                self._finish(job)
