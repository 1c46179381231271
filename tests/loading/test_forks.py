"""The loader process and its forks: the same batches as one process gives, and an end that is noticed, named and leaves nothing."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from make import Image, Series, break_streams, ct_series, ct_slice, write_dataset
from test_process import SOON, _gone, _wait

from radload.errors import RadloadError
from radload.loading import Loader, process
from radload.loading.board import Boards, Posted
from radload.loading.deliver import Deliverer
from radload.loading.forks import _DONE, _STOCK, Forks, _Hand
from radload.loading.job import Job
from radload.loading.planning.plan import BatchPlan
from radload.loading.process import forks_of
from radload.sources.slice import VoiFunction

Batch = dict[str, Any]
SMALL: dict[str, Any] = {"size": (24, 20), "seed": 4, "batch_size": 9, "prefetch": 2}


def batches(root: Path, threads: int, epochs: int = 2, **options: Any) -> list[Batch]:
    with Loader(root, threads=threads, **SMALL, **options) as loader:
        return [batch for _ in range(epochs) for batch in loader]


def assert_same(found: list[Batch], want: list[Batch]) -> None:
    assert len(found) == len(want) > 1
    for one, other in zip(found, want, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CT slices with masks, some with tables of their own, in series of four with positions; every slice another."""
    rng = np.random.default_rng(7)
    lut = (-500, rng.random(3000).tolist())
    series = []
    for number in range(6):
        images = []
        for i in range(4):
            stored = ct_slice(10 * number + i)
            images.append(
                Image(stored, intercept=-1024.0, mask=(stored > 1000).astype(np.uint8), position=(0.0, 0.0, 3.0 * i))
            )
        if number % 2:
            images[1].voi, images[1].voi_lut = VoiFunction.LUT, lut
        series.append(Series(images))
    return write_dataset(tmp_path_factory.mktemp("forks") / "data", series)


@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window": "file", "channels": 1, "masks": True, "dtype": "bfloat16"},
        {"augment": "default", "views": 2, "local_views": 2, "local_size": 12, "window": "file"},
        {"neighbours": 1, "masks": True, "augment": "default", "views": 2},
        {"cache": True},
        {"sampler": "blocks"},
    ],
    ids=str,
)
def test_any_number_of_processes_gives_the_same_batches(all_kinds: Path, threads: int, options: dict[str, Any]) -> None:
    assert_same(batches(all_kinds, threads, **options), batches(all_kinds, 1, **options))


def prelude(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Run `code` in the loader process before it begins."""
    monkeypatch.setattr(process, "_START", f"{code}\n" + process._START)


def test_tables_that_fit_on_no_board(all_kinds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches with more than a board holds are done by the loader process alone."""
    want = batches(all_kinds, 1, window="file")
    prelude(monkeypatch, "import radload.loading.board as b; b.TABLES = 0")
    assert_same(batches(all_kinds, 3, window="file"), want)


def test_where_no_process_can_be_forked_one_does_all(
    ct_data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    want = batches(ct_data, 1)
    prelude(
        monkeypatch,
        "import os\ndef fork(): raise BlockingIOError(11, 'Resource temporarily unavailable')\nos.fork = fork",
    )
    with caplog.at_level(logging.WARNING):
        assert_same(batches(ct_data, 3), want)
    assert "only 1 of 3 loader processes could be started (Resource temporarily unavailable)" in caplog.text


def test_slots_that_come_after_the_fork(ct_data: Path) -> None:
    """All batches are kept, so the ring grows again and again."""
    with Loader(ct_data, threads=3, **SMALL | {"batch_size": 2, "prefetch": 1}) as loader:
        kept = [batch for _ in range(3) for batch in loader]
    with Loader(ct_data, threads=1, **SMALL | {"batch_size": 2, "prefetch": 1}) as loader:
        for batch, other in zip(kept, (one for _ in range(3) for one in loader), strict=True):
            assert torch.equal(batch["image"], other["image"])


def test_what_cannot_be_read_is_told_as_by_one_process(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", [ct_series(i, 8) for i in range(4)])
    break_streams(root, {3, 11, 12, 30})
    told = []
    for threads in (1, 3):
        with Loader(root, threads=threads, max_failures=1000, **SMALL) as loader:
            found = [batch["index"].tolist() for _ in range(2) for batch in loader]
            told.append((found, sorted({f.key for f in loader.failures}), len(loader.failures)))
    assert told[0] == told[1] and len(told[0][1]) >= 3


def test_a_defect_in_a_fork_is_told_whole(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prelude(
        monkeypatch,
        "import os, radload.loading.deliver as d; parent, real = os.getpid(), d.contents\n"
        "def contents(*a):\n"
        "    if os.getpid() != parent: raise ZeroDivisionError('in a fork')\n"
        "    return real(*a)\n"
        "d.contents = contents",
    )
    with Loader(ct_data, threads=2, **SMALL) as loader, pytest.raises(RadloadError, match="in a fork") as caught:
        list(loader)
    assert "Traceback" in caught.value.__notes__[0]


def test_requests_that_are_given_up(ct_data: Path) -> None:
    """Moved in the middle of an epoch, again and again: what comes is what was asked for last."""
    want = batches(ct_data, 1)
    with Loader(ct_data, threads=3, **SMALL | {"prefetch": 4}) as loader:
        start = loader.state_dict()
        for _ in range(5):
            loader.load_state_dict(start)
            assert torch.equal(next(iter(loader))["image"], want[0]["image"])
        loader.load_state_dict(start)
        assert_same([batch for _ in range(2) for batch in loader], want)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_end_of_a_fork_is_the_end_of_its_loader(ct_data: Path, number: signal.Signals) -> None:
    with Loader(ct_data, threads=3, **SMALL) as loader:
        iterator = iter(loader)
        next(iterator)
        forks = forks_of(loader.pid)
        assert len(forks) == 2
        os.kill(forks[1], number)
        began = time.monotonic()
        with pytest.raises(RadloadError, match=rf"pid {loader.pid}\) was ended by signal {int(number)}"):
            for _ in range(50):
                next(iterator, None)
                iterator = iter(loader)
        assert time.monotonic() - began < SOON
    assert _wait(lambda: all(map(_gone, forks)))


def test_a_stopped_fork_is_named(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loader(ct_data, threads=2, **SMALL) as loader:
        next(iter(loader))
        (fork,) = forks_of(loader.pid)
        os.kill(fork, signal.SIGSTOP)
        monkeypatch.setattr(process, "STALL", 1.0)
        with pytest.raises(RadloadError, match=f"it was stopped.*kill -CONT {fork}`"):
            for _ in range(50):
                list(loader)
    assert _wait(lambda: _gone(fork))


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_forks_end_with_their_loader(ct_data: Path, how: str) -> None:
    with Loader(ct_data, threads=4, **SMALL) as loader:
        next(iter(loader))
        forks = forks_of(loader.pid)
        assert len(forks) == 3
        if how == "killed":
            os.kill(loader.pid, signal.SIGKILL)
    if how == "closed":  # the loader process has collected them
        assert _wait(lambda: not any(Path(f"/proc/{fork}").exists() for fork in forks))
    assert _wait(lambda: all(map(_gone, forks)))


def test_no_fork_before_there_is_work(ct_data: Path) -> None:
    with Loader(ct_data, threads=4, **SMALL) as loader:
        time.sleep(1.0)
        assert not forks_of(loader.pid)


def test_a_plan_survives_its_board() -> None:
    """What is read from a board is what was written, views that share tables share them still, and too much is refused."""
    from radload.dataset.schema import RECORD
    from radload.kernels.prepare import SAMPLE, WINDOW

    rng = np.random.default_rng(1)

    def some(dtype: Any, *shape: int) -> Any:
        dtype = np.dtype(dtype)
        return np.frombuffer(rng.bytes(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)

    tables = rng.random(700).astype(np.float32)
    own = rng.random(50).astype(np.float32)

    def plan(tables: Any, further: tuple[BatchPlan, ...] = ()) -> BatchPlan:
        shared = (rows, records, levels, pivot)
        return BatchPlan(*shared, some(SAMPLE, 6), some(WINDOW, 6, 2), tables, 3, further)

    rows, levels, pivot, records = some("<i8", 6), some("<i8", 6), rng.random(6), some(RECORD, 6)
    job = Job(5, 2, plan(tables, (plan(tables), plan(own))), some("<i8", 2), some("<i8", 2), 3, {}, 2)
    boards = Boards(2, 4, 3, 3, 2)
    posted = boards.write(1, job)
    assert posted is not None
    found = boards.read(type(posted).of(list(posted_values(posted))), {"image": tables})
    assert (found.id, found.epoch, found.slot, found.left) == (5, 2, 3, 2) and found.arrays == {"image": tables}
    assert np.array_equal(found.places, job.places) and np.array_equal(found.positions, job.positions)
    for one, other in zip((found.plan, *found.plan.further), (job.plan, *job.plan.further), strict=True):
        for name in ("rows", "records", "levels", "pivot", "samples", "windows", "tables"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name
        assert one.slices == 3
    assert found.plan.tables is found.plan.further[0].tables is not found.plan.further[1].tables
    huge = Job(6, 2, plan(np.zeros(5 << 20, np.float32)), job.places, job.positions, 3, {}, 2)
    assert boards.write(0, huge) is None


def posted_values(posted: Any) -> Any:
    """As they come out of JSON."""
    import json
    from dataclasses import astuple

    return json.loads(json.dumps(astuple(posted)))


def job_of(count: int) -> Job:
    numbers = np.arange(count)
    return Job(0, 0, cast(BatchPlan, None), numbers, numbers, 0, {}, count)


@pytest.mark.parametrize("workers", [1, 2, 3, 16])
@pytest.mark.parametrize("count", [1, 2, 5, 31, 32, 33, 50, 64, 256, 1000])
def test_pieces_are_equal_several_for_each_worker_and_none_is_long(count: int, workers: int) -> None:
    pieces = job_of(count).pieces(workers)
    assert [i for piece in pieces for i in piece] == list(range(count))
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) <= 16 and set(lengths[:-1]) <= {lengths[0]} and lengths[-1] <= lengths[0]
    assert lengths[0] <= -(-count // (2 * workers)), "each worker has two"
    begun = job_of(count).pieces(workers, 1)
    assert [i for piece in begun for i in piece] == list(range(1, count)), "the first was done before the fork"


class Dealer:
    """Forks as the loader process has them, with a fork that is a test's socket."""

    def __init__(self, seconds_per_draw: float) -> None:
        def post(board: int, job: Job) -> Posted:
            return Posted(job.id, 0, 0, board, len(job.places), 1, 1, ())

        unused: Any = None
        self.ends: list[Job] = []
        self._consumer, self._other = socket.socketpair()
        self.forks = Forks(
            2,
            self._consumer,
            cast(Boards, SimpleNamespace(write=post)),
            {},
            unused,
            cast(Deliverer, SimpleNamespace(tools=lambda: None)),
            unused,
            lambda _: True,
            unused,
            self.ends.append,
            unused,
        )
        ours, self.fork = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.hand = self.forks._hands[ours.fileno()] = _Hand(0, ours)
        self.forks._begun, self.forks._stock = True, int(_STOCK / seconds_per_draw)

    def __enter__(self) -> Dealer:
        return self

    def __exit__(self, *exception: object) -> None:
        for end in (self._consumer, self._other, self.hand.channel, self.fork):
            end.close()

    def lengths(self) -> list[int]:
        return [count for _, count in self.hand.out]


@pytest.mark.parametrize(("seconds_per_draw", "out"), [(1e-6, [13, 13, 13, 11]), (2e-4, [13, 13]), (1.0, [13, 13])])
def test_a_fork_has_two_pieces_and_more_where_they_are_quick(seconds_per_draw: float, out: list[int]) -> None:
    with Dealer(seconds_per_draw) as dealer:
        dealer.forks.submit(job_of(50))
        dealer.forks.submit(job_of(50))
        dealer.forks._hand_out()
        assert dealer.lengths() == out


def test_all_that_a_fork_has_said_is_heard_at_once() -> None:
    """One message per turn kept it one piece from nothing to do: raw shards left a tenth of a core idle."""
    with Dealer(1e-6) as dealer:
        job = job_of(50)
        dealer.forks.submit(job)
        dealer.forks._hand_out()
        for hits in (0, 2, 5):
            dealer.fork.send(_DONE.pack(hits))
        dealer.forks._hear(dealer.hand)
        assert (dealer.lengths(), job.left, job.hits) == ([11], 11, 7) and not dealer.ends
        dealer.fork.send(_DONE.pack(0))
        dealer.forks._hear(dealer.hand)
        assert dealer.ends == [job] and job.left == 0 and not dealer.lengths()
