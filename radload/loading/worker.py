"""The loader process: one per `Loader`, without torch, so that decoding never waits for the trainer's interpreter lock.

Threads inside the trainer's process are a trap: with its main thread busy in Python, a thread that takes the lock four
times per slice fell from 1,800 to 47 slices/s, and slowed the main thread. This process plans; its crew (`crew`: processes forked
from it, or its own threads) reads, checks, decodes and renders straight into memory that the trainer shares.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import FormatError, RadloadError
from radload.loading import protocol
from radload.loading.board import Boards
from radload.loading.cache.levels import open_cache
from radload.loading.crew import Crew, Threads
from radload.loading.deliver import Deliverer, make_deliverer
from radload.loading.forks import BOARDS, Forks, Token
from radload.loading.job import Job, describe
from radload.loading.order.blocks import Blocks
from radload.loading.order.order import Order
from radload.loading.order.sampling import Sampler
from radload.loading.order.strata import Sampling, open_sampler
from radload.loading.planning.ahead import Ahead
from radload.loading.planning.neighbours import drawn_rows
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.readahead import ReadAhead
from radload.loading.ring import Layout, map_shared

_PATIENCE = 1.0  # seconds between looks at whether the parent is still there


class Worker:
    """Serves requests from `channel` until the other side is gone."""

    def __init__(self, channel: socket.socket, config: protocol.Config) -> None:
        root = Path(config["root"])
        manifest = read_manifest(root, config["generation"])
        if manifest.fingerprint != config["fingerprint"]:
            raise FormatError(f"the data set in {root} was replaced while it was being opened: start again")
        index = open_index(root, manifest, scattered=True)
        settings = Settings.from_dict(config["settings"])
        self._rows = drawn_rows(index, range(*config["rows"]), settings.neighbours)
        sampling = Sampling.from_dict(config["sampling"])
        sampler = open_sampler(sampling, index, config["order"]["seed"], self._rows)
        self._order = Order(**config["order"], sampler=sampler)
        self._planner = Planner(index, settings)
        self._planned = Ahead(self._order, self._rows, self._planner)
        self._layout = Layout.of({name: (dtype, tuple(shape)) for name, (dtype, shape) in config["fields"].items()})
        self._channel, self._sending = channel, threading.Lock()
        self._warned: set[str] = set()
        files = self._shards(config, root, index, sampler)
        self._ahead = ReadAhead(files, index, config["rows"][0], sampler) if isinstance(sampler, Blocks) else None
        self._files, self._remote, self._config = files, config["remote"] is not None, config
        # What a bucket gives lies in this process's memory, and so does the directory of what a device keeps.
        forks = not self._remote and not config["held"]
        self._lock: AbstractContextManager[Any] = Token() if forks else threading.Lock()
        self._cache = open_cache(config["cache"], self._warn, self._lock) if config["cache"] is not None else None
        self._pid = os.getpid()
        self._slots: dict[int, dict[str, NDArray[Any]]] = {}
        self._oldest = 0  # requests before this one are no longer wanted
        self._deliverer = self._make(self._warn)
        self._crew: Crew
        if forks:
            boards = Boards(
                BOARDS,
                self._order.batch_size,
                settings.neighbours.slices,
                settings.views.total,
                settings.recipe.channels,
            )
            self._crew = Forks(
                config["threads"], channel, boards, self._slots, self._map, self._deliverer, self._make,
                self._wanted, self._explain, self._finish, self._warn,
            )  # fmt: skip
        else:
            self._crew = Threads(config["threads"], self._deliverer, self._wanted, self._explain, self._finish)

    def _make(self, warn: Callable[[str], None]) -> Deliverer:
        """The deliverer of this process, or of one forked from it: a file's locks are those of the process that opened it."""
        config, cache = self._config, self._cache
        if config["cache"] is not None and config["cache"]["folder"] is not None and os.getpid() != self._pid:
            cache = open_cache(config["cache"], warn, self._lock)
        return make_deliverer(
            config["deliver"],
            self._files,
            self._planner,
            self._rows,
            replace=self._order.shuffle and self._order.drop_last,
            stand_in=self._order.stand_in,
            cache=cache,
            held=config["held"],
            lock=self._lock,
        )

    def _wanted(self, job: int) -> bool:
        return job >= self._oldest

    def _shards(self, config: protocol.Config, root: Path, index: Index, sampler: Sampler) -> ShardFiles:
        remote = config["remote"]
        if remote is None:
            return ShardFiles(root, index.shard_names)
        from radload.remote.source import open_shards, workload

        training = self._order.shuffle and self._order.drop_last
        rows = range(*config["rows"])
        run, opened = (1, 1) if self._order.shuffle else (len(rows), 1)
        if isinstance(sampler, Blocks):
            run, opened = sampler.block, sampler.runs
        share = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) / self._order.world_size
        return open_shards(
            remote,
            root,
            index,
            lambda: workload(index, rows, self._planner, training, run, opened, min(1.0, share)),
            self._warn,
        )

    def serve(self) -> None:
        """Answer requests until the consumer closes its end or dies."""
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                self._crew.attend(self._channel)
                received = protocol.receive(self._channel)
            except TimeoutError:
                continue
            if received is None:
                break
            message, descriptors = received
            if message["do"] == "slots":
                self._crew.map_slots(message["first"], message["count"], descriptors[0])
                self._map(message["first"], message["count"], descriptors[0])
            elif message["do"] == "cancel":
                self._oldest = message["before"]
            else:
                self._start(message)
        self._crew.close()

    def _map(self, first: int, count: int, descriptor: int) -> None:
        """Map a file of slots, and close it."""
        size = self._layout.size
        try:
            memory = np.frombuffer(map_shared(descriptor, size * count), np.uint8)
        finally:
            os.close(descriptor)
        for i in range(count):
            self._slots[first + i] = self._layout.arrays(memory, i * size)

    def _start(self, message: protocol.Message) -> None:
        """Plan a batch and hand it to the threads in pieces."""
        try:
            self._planner.index.files.check()  # or touching a mapped file that was cut would kill this process
            step, plan = self._planned.step(message["epoch"], message["step"])
            positions, places = step.positions[step.places], step.places
            arrays = self._slots[message["slot"]]
            if self._ahead is not None:
                # Random crops of a run need other levels than this draw's: all of them are asked for.
                settings = self._planner.settings
                levels = plan.levels[settings.neighbours.count :: plan.slices] * (settings.augment is None)
                self._ahead.ask(message["epoch"], positions, levels)
            if self._remote:
                self._announce(plan)
            arrays["rows"][:] = -1
            arrays["rows"][places] = step.rows
            arrays["valid"][:] = step.valid
            if "share" in arrays:
                arrays["share"][0], arrays["batch"][0] = message["share"], message["id"]
                arrays["own"][places] = self._order.own(step.elements[places])
            self._deliverer.settle(message["done"], message["gone"], self._oldest)
            self._deliverer.begin(arrays, plan, places)
        except Exception as error:  # noqa: BLE001 - whatever it is, the consumer must hear of it
            self._send({"id": message["id"], "error": self._explain(error)})
            return
        job = Job(message["id"], message["epoch"], plan, places, positions, message["slot"], arrays, len(places))
        if len(places):
            self._crew.submit(job)
        else:
            self._finish(job)

    def _announce(self, plan: BatchPlan) -> None:
        """Tell the shards what the batch will read: all that the cache does not have."""
        records, levels = plan.records, plan.levels
        if self._cache is not None:
            keys = zip(plan.rows.tolist(), levels.tolist(), plan.pivot.tolist(), strict=True)
            missing = np.array([not self._cache.has(*key) for key in keys], np.bool_)
            records, levels = records[missing], levels[missing]
        self._files.coming(records, levels)

    def _finish(self, job: Job) -> None:
        """All draws of a batch are done."""
        if job.error is None:
            try:
                self._planner.index.files.check()  # what was read from them is believed only now
            except Exception as error:  # noqa: BLE001 - as above
                job.error = describe(error)
        self._send(job.answer())

    def _explain(self, error: Exception) -> protocol.Message:
        """An error as a message. Where the index was changed meanwhile, that is the reason, whatever its values led to."""
        try:
            self._planner.index.files.check()
        except RadloadError as changed:
            return describe(changed)
        return describe(error)

    def _warn(self, sentence: str) -> None:
        """Once, whoever and how many of the crew say it."""
        with self._sending:
            known = sentence in self._warned
            self._warned.add(sentence)
        if not known:
            self._send({"warning": sentence})

    def _send(self, message: protocol.Message) -> None:
        try:
            with self._sending:
                protocol.send(self._channel, message)
        except OSError:  # nobody listens any more: `serve` ends the process
            return


def main(descriptor: int) -> None:
    """Entry point: the descriptor is this side of the socket pair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; this process ends with it
    channel = socket.socket(fileno=descriptor)
    channel.settimeout(_PATIENCE)
    parent = os.getppid()
    received = None
    while received is None and os.getppid() == parent:
        try:
            received = protocol.receive(channel)
            if received is None:
                return
        except TimeoutError:
            continue
    if received is None:
        return
    config: Any = received[0]
    try:
        worker = Worker(channel, config)
    except Exception as error:  # noqa: BLE001 - the consumer raises it
        protocol.send(channel, {"id": None, "error": describe(error)})
        return
    worker.serve()
    sys.stderr.flush()
    os._exit(0)  # threads may be in the middle of a decode that nobody wants
