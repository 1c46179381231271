"""The loader process: one per `Loader`, without torch, so that decoding never waits for the trainer's interpreter lock.

Threads inside the trainer's process are a trap: with its main thread busy in Python, a thread that takes the lock four
times per slice fell from 1,800 to 47 slices/s, and slowed the main thread. Here T threads read, check, decode and render
straight into shared memory; imagecodecs, the CRC, pread and the kernel all release this process's own lock.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import FormatError, RadloadError
from radload.loading import protocol
from radload.loading.cache.levels import open_cache
from radload.loading.deliver import Deliverer, make_deliverer
from radload.loading.order.blocks import Blocks
from radload.loading.order.order import Order
from radload.loading.order.sampling import Sampler
from radload.loading.order.strata import Sampling, open_sampler
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.neighbours import drawn_rows, rows_of
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.readahead import ReadAhead
from radload.loading.reader import Failure
from radload.loading.ring import Layout, map_shared

_PATIENCE = 1.0  # seconds between looks at whether the parent is still there


@dataclass
class _Job:
    """One requested batch, worked on by all threads."""

    id: int
    epoch: int
    plan: BatchPlan
    places: NDArray[np.int64]  # in the batch, of the plan's entries
    positions: NDArray[np.int64]  # in the epoch, of the plan's entries
    arrays: dict[str, NDArray[Any]]
    left: int
    failed: int = 0
    hits: int = 0
    failures: list[Failure] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # of failures, by shard and kind
    error: protocol.Message | None = None
    lock: Lock = field(default_factory=Lock)


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
        self._layout = Layout.of({name: (dtype, tuple(shape)) for name, (dtype, shape) in config["fields"].items()})
        self._channel, self._sending = channel, Lock()
        cache = open_cache(config["cache"], self._warn) if config["cache"] is not None else None
        files = self._shards(config, root, index, sampler)
        self._ahead = ReadAhead(files, index, config["rows"][0], sampler) if isinstance(sampler, Blocks) else None
        self._files, self._cache, self._remote = files, cache, config["remote"] is not None
        self._deliverer: Deliverer = make_deliverer(
            config["deliver"],
            files,
            self._planner,
            self._rows,
            replace=self._order.shuffle and self._order.drop_last,
            stand_in=self._order.stand_in,
            cache=cache,
            held=config["held"],
        )
        self._slots: dict[int, dict[str, NDArray[Any]]] = {}
        self._oldest = 0  # requests before this one are no longer wanted
        self._queue: SimpleQueue[tuple[_Job, int, int]] = SimpleQueue()
        self._threads = config["threads"]
        for _ in range(self._threads):
            Thread(target=self._work, daemon=True).start()

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
                received = protocol.receive(self._channel)
            except TimeoutError:
                continue
            if received is None:
                return
            message, descriptors = received
            if message["do"] == "slots":
                self._map(message, descriptors[0])
            elif message["do"] == "cancel":
                self._oldest = message["before"]
            else:
                self._start(message)

    def _map(self, message: protocol.Message, descriptor: int) -> None:
        size = self._layout.size
        try:
            memory = np.frombuffer(map_shared(descriptor, size * message["count"]), np.uint8)
        finally:
            os.close(descriptor)
        for i in range(message["count"]):
            self._slots[message["first"] + i] = self._layout.arrays(memory, i * size)

    def _start(self, message: protocol.Message) -> None:
        """Plan a batch and hand it to the threads in pieces."""
        try:
            self._planner.index.files.check()  # or touching a mapped file that was cut would kill this process
            positions, elements, valid = self._order.draws(message["epoch"], message["step"])
            arrays = self._slots[message["slot"]]
            places = np.flatnonzero(valid)
            rows = rows_of(self._rows, elements[places])
            plan = plan_draws(self._planner, rows, message["epoch"], positions[places])
            if (
                self._ahead is not None
            ):  # random crops of a run need other levels than this draw's: all of them are asked for
                settings = self._planner.settings
                levels = plan.levels[settings.neighbours.count :: plan.slices] * (settings.augment is None)
                self._ahead.ask(message["epoch"], positions[places], levels)
            if self._remote:
                self._announce(plan)
            arrays["rows"][:] = -1
            arrays["rows"][places] = rows
            arrays["valid"][:] = valid
            if "share" in arrays:
                arrays["share"][0], arrays["batch"][0] = message["share"], message["id"]
                arrays["own"][places] = self._order.own(elements[places])
            self._deliverer.settle(message["done"], message["gone"], self._oldest)
            self._deliverer.begin(arrays, plan, places)
        except Exception as error:  # noqa: BLE001 - whatever it is, the consumer must hear of it
            self._send({"id": message["id"], "error": self._explain(error)})
            return
        job = _Job(message["id"], message["epoch"], plan, places, positions[places], arrays, len(places))
        if not len(places):
            self._finish(job)
        piece = max(1, min(8, len(places) // (4 * self._threads)))
        for start in range(0, len(places), piece):
            self._queue.put((job, start, min(start + piece, len(places))))

    def _announce(self, plan: BatchPlan) -> None:
        """Tell the shards what the batch will read: all that the cache does not have."""
        records, levels = plan.records, plan.levels
        if self._cache is not None:
            keys = zip(plan.rows.tolist(), levels.tolist(), plan.pivot.tolist(), strict=True)
            missing = np.array([not self._cache.has(*key) for key in keys], np.bool_)
            records, levels = records[missing], levels[missing]
        self._files.coming(records, levels)

    def _work(self) -> None:
        """A thread's life: pieces of batches."""
        tools = self._deliverer.tools()
        while True:
            job, start, stop = self._queue.get()
            failures: list[Failure] = []
            hits = 0
            try:
                if job.id >= self._oldest and job.error is None:
                    for i in range(start, stop):
                        place = int(job.places[i])
                        draw = self._deliverer.deliver(
                            job.arrays, place, job.plan, i, job.epoch, int(job.positions[i]), tools
                        )
                        failures.extend(draw.failures)
                        hits += draw.hits
            except Exception as error:  # noqa: BLE001 - as above
                job.error = self._explain(error)
            with job.lock:
                job.failed += len(failures)
                job.hits += hits
                job.failures.extend(failures[: protocol.NAMED_FAILURES])
                job.counts.update((failure.shard, failure.kind) for failure in failures)
                job.left -= stop - start
                last = job.left == 0
            if last:
                self._finish(job)

    def _finish(self, job: _Job) -> None:
        if job.error is None:
            try:
                self._planner.index.files.check()  # what was read from them is believed only now
            except Exception as error:  # noqa: BLE001 - as above
                job.error = describe(error)
        if job.error is not None:
            self._send({"id": job.id, "error": job.error})
            return
        named = sorted((f.key, f.reason, f.shard, f.kind) for f in job.failures)[: protocol.NAMED_FAILURES]
        counts = [[*where, count] for where, count in job.counts.most_common(protocol.COUNTED_SHARDS)]
        self._send({"id": job.id, "failed": job.failed, "failures": named, "counts": counts, "hits": job.hits})

    def _explain(self, error: Exception) -> protocol.Message:
        """An error as a message. Where the index was changed meanwhile, that is the reason, whatever its values led to."""
        try:
            self._planner.index.files.check()
        except RadloadError as changed:
            return describe(changed)
        return describe(error)

    def _warn(self, sentence: str) -> None:
        self._send({"warning": sentence})

    def _send(self, message: protocol.Message) -> None:
        try:
            with self._sending:
                protocol.send(self._channel, message)
        except OSError:  # nobody listens any more: `serve` ends the process
            return


def describe(error: BaseException) -> protocol.Message:
    """An error as a message: the user's sentence, or what a bug report needs."""
    if isinstance(error, RadloadError):
        return {"kind": type(error).__name__, "text": str(error)}
    detail = "".join(traceback.format_exception(error))[-8000:]
    return {"kind": "", "text": f"{type(error).__name__}: {error}", "detail": detail}


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
