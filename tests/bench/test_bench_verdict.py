"""The sentence and the figures that follow from a measurement, on made-up rates: nothing is timed here."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from radload.bench.cold import Cold
from radload.bench.counters import Memory
from radload.bench.needs import PUBLISHED, Need, find_published, published_need
from radload.bench.result import DECODE, KERNEL, LOADER, READ, Result, say
from radload.errors import UsageError

RESULT = Result(
    settings={"size": 224, "split": "train"},
    samples=600,
    threads=2,
    rounds={
        READ: (60_000.0, 61_000.0, 10.0),
        DECODE: (3_900.0, 3_912.0, 9_999_999.0),
        KERNEL: (9_100.0, 9_100.0, 9_000.0),
        LOADER: (2_300.0, 2_450.0, 2_600.0),
    },
    levels={0: 0.25, 1: 0.75},
    asked=65_000.0,
    raw=524_288.0,
    cold=Cold(69_000.0, 1_200.0, 65_000.0),
    from_storage=0.0,
    first_batch=0.6,
    loader_cores=1.9,
    consumer_cores=0.1,
    memory=Memory(1, 2, 3),
    unreadable=0,
    cores_free=1.0,
)


def test_medians_decide() -> None:
    assert RESULT.limit == DECODE
    assert RESULT.rate(DECODE) == 3_912
    assert RESULT.together == pytest.approx(1 / (1 / 60_000 + 1 / 3_912 + 1 / 9_100))


def test_verdict_is_one_sentence_with_the_limit_first() -> None:
    assert RESULT.verdict == (
        "decoding is the limit: 3,900 slices/s on 2 threads; reading could give 60,000, the kernel 9,100; "
        "the loader delivers 2,400, 94% of what the three allow together."
    )


def test_cold_storage_is_the_limit_only_where_the_loader_read_from_it() -> None:
    assert replace(RESULT, from_storage=None).limit == DECODE
    cold = replace(RESULT, from_storage=0.9)
    assert cold.limit == READ
    assert cold.verdict.startswith("reading from storage is the limit: 1,200 slices/s")
    assert "together" not in cold.verdict  # the three were measured with a warm cache, so no share of them is claimed
    assert replace(cold, cold="it cannot be dropped").limit == DECODE


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1_000.0, "and net on card takes 1,000 (published): the network is the limit."),
        (
            4_900.0,
            "but net on card takes 4,900 (published): the loader is the limit, 2.0 times too slow on this machine.",
        ),
    ],
)
def test_verdict_says_whether_it_is_enough(rate: float, words: str) -> None:
    assert replace(RESULT, need=Need("net", "card", rate, 224, "published", "")).verdict.endswith(words)


def test_a_need_at_another_size_says_so() -> None:
    assert "(published, at 299 pixels)" in replace(RESULT, need=Need("net", "card", 1, 299, "published", "")).verdict


def test_json_holds_every_round_and_the_verdict() -> None:
    content = json.loads(json.dumps(RESULT.as_dict()))
    assert content["rounds"]["decode"] == [3_900, 3_912, 9_999_999]
    assert content["medians"]["decode"] == 3_912 and content["limit"] == "decode"
    assert content["levels"] == {"0": 0.25, "1": 0.75} and content["cold"]["rate"] == 1_200
    unknown = replace(RESULT, cold="no").as_dict()
    assert unknown["cold"] is None and unknown["cold_unknown"] == "no"


@pytest.mark.parametrize(
    ("rate", "text"), [(5.13, "5.1"), (48.4, "48"), (99.6, "100"), (586, "590"), (3_912, "3,900"), (61_499, "61,000")]
)
def test_two_digits(rate: float, text: str) -> None:
    assert say(rate) == text


def test_published_needs_have_a_source_and_the_highest_counts() -> None:
    assert all(one.source and one.setup and one.rate > 0 for one in PUBLISHED)
    need = published_need("ResNet50", "H200")
    assert (need.rate, need.origin) == (7869, "published") and "MLPerf" in need.how
    assert [one.rate for one in find_published("resnet50", "h200")] == [7869, 3079]


@pytest.mark.parametrize(("arch", "known"), [("densenet121", "densenet121 is known on rtx3090"), ("vgg", "known are ")])
def test_what_is_not_published_is_not_made_up(arch: str, known: str) -> None:
    with pytest.raises(UsageError, match=known):
        published_need(arch, "h200")
