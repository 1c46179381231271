"""What is said of failures: by shard and kind, with the largest first; and one end for all ranks where they agree."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from test_reader import flip_byte

from radload.errors import AgreedEnd, RadloadError, UsageError
from radload.loading import Loader
from radload.loading.agree import Agreement
from radload.loading.failures import Failures, summary
from radload.loading.process import Delivery
from radload.loading.reader import Failure
from radload.loading.ring import Slot


class Told:
    """Stands for an agreement of three ranks: what the others say is given."""

    def __init__(self, others: int, broken: list[str | None]) -> None:
        self.others, self.broken = others, broken

    def sums(self, failed: int, broken: bool) -> tuple[int, int]:
        return failed + self.others, broken + sum(text is not None for text in self.broken)

    def reports(self, own: dict[str, Any]) -> list[dict[str, Any]]:
        other = {"failed": self.others, "counts": [["b.tar", "is cut", self.others]], "recent": ["other"]}
        return [own, *({**other, "error": text} for text in self.broken)]


def delivery(count: int) -> Delivery:
    slot: Slot = None  # type: ignore[assignment] - not looked at
    named = tuple(Failure(f"{i:012d}", f"reason {i}", "a.tar", "wrong checksum") for i in range(count))
    return Delivery(0, 0, slot, count, named, {("a.tar", "wrong checksum"): count})


def test_a_summary_tells_shards_and_kinds_largest_first() -> None:
    counts = Counter({("a", "is cut"): 3, ("b", "cannot be opened"): 9, ("a", "wrong checksum"): 4})
    assert summary(counts, 16) == "b: 9 cannot be opened; a: 4 wrong checksum, 3 is cut"
    many = Counter({(f"{i}.tar", "is cut"): 10 - i for i in range(8)})
    assert summary(many, 60).endswith("4.tar: 6 is cut; 20 in others")


@pytest.mark.parametrize(("limit", "allowed"), [(0, 0), (7, 7), (0.1, 30), (0.001, 1)])
def test_a_fraction_is_of_all_ranks_samples_where_they_agree(limit: float, allowed: int) -> None:
    together: Any = Told(0, [None, None])
    assert Failures(limit, 100, 3, False, together).limit == allowed
    assert Failures(limit, 100, 3, False, None).limit == (allowed if limit != 0.1 else 10)


def test_all_end_when_all_together_have_too_many() -> None:
    agreement: Any = Told(3, [None, None])
    failures = Failures(7, 100, 3, False, agreement)
    failures.add(delivery(4), 2)
    assert failures.verdict(2, None) is None and (failures.failed, failures.total) == (4, 7)
    failures.add(delivery(1), 2)
    verdict = failures.verdict(2, None)
    assert isinstance(verdict, AgreedEnd)
    assert str(verdict).startswith("8 samples of epoch 2 cannot be read (rank 0: 5, rank 1: 3, rank 2: 3), more than")
    assert "b.tar: 6 is cut; a.tar: 5 wrong checksum" in str(verdict) and "reason 0; other; other" in str(verdict)


def test_an_error_of_one_rank_is_the_end_of_all() -> None:
    agreement: Any = Told(0, ["the loader process (pid 7) is gone", None])
    verdict = Failures(7, 100, 3, False, agreement).verdict(0, None)
    assert isinstance(verdict, AgreedEnd)
    assert str(verdict) == "rank 1 of 3 cannot go on, so all ranks end: the loader process (pid 7) is gone"


def test_without_an_agreement_an_error_is_its_own() -> None:
    error = RadloadError("why")
    assert Failures(7, 100, 3, False, None).verdict(0, error) is error


@pytest.fixture
def alone() -> Iterator[Any]:
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_a_loader_counts_through_its_group(ct_data: Path, tmp_path: Path, alone: Any) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(ct_data, root)
    for row in range(0, 30, 3):
        flip_byte(root, row)
    options: dict[str, Any] = {"batch_size": 3, "size": 64, "threads": 1, "group": alone}
    with Loader(root, max_failures=100, **options) as loader:
        for _ in loader:
            assert loader.failed_on_all == loader.failed
            seen = loader.failed
        assert seen >= 10
    with pytest.raises(AgreedEnd, match=r"\(rank 0: \d+\), more than max_failures allows \(2\)"):
        list(Loader(root, max_failures=2, **options))


def test_a_group_of_other_ranks_is_refused(ct_data: Path, alone: Any) -> None:
    with pytest.raises(UsageError, match="rank 0 of 1, the loader as 1 of 2"):
        Loader(ct_data, batch_size=3, size=16, rank=1, world_size=2, group=alone)


def test_a_group_for_gpus_is_refused(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "get_backend", lambda group: "nccl")
    with pytest.raises(UsageError, match="gloo"):
        Agreement(alone, 0, 1)
    monkeypatch.setattr(dist, "get_backend", lambda group: "cpu:gloo,cuda:nccl")
    assert Agreement(alone, 0, 1).sums(5, False) == (5, 0)


def test_long_reports_arrive(alone: Any) -> None:
    agreement = Agreement(alone, 0, 1)
    own = {"failed": 5, "counts": [["é" * 200, "is cut", 5]] * 20, "recent": ["r" * 300] * 3, "error": "x" * 1000}
    (back,) = agreement.reports(own)
    assert (back["failed"], back["error"]) == (5, "x" * 1000)


def test_a_rank_that_is_gone_is_a_sentence(alone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: object, **options: object) -> None:
        raise RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:1\nmore")

    monkeypatch.setattr(dist, "all_reduce", closed)
    failures = Failures(7, 100, 1, False, Agreement(alone, 0, 1))
    assert "another rank of the run has gone" in str(failures.verdict(0, None))
