"""Splits: a patient's is a function of himself and the public seed; small sets keep exact quotas, class by class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.pack.splits import EXACT_BELOW, Ratio, assign, parse_ratio, quotas, rule, split_hash

RATIO: Ratio = (0.75, 0.1, 0.15)
RATIOS = st.tuples(st.integers(0, 100), st.integers(0, 100)).map(
    lambda ends: (min(ends) / 100, (max(ends) - min(ends)) / 100, (100 - max(ends)) / 100)
)


def patients(count: int) -> dict[str, str]:
    return {f"\0patient {number}": "" for number in range(count)}


def test_a_patient_keeps_his_split_when_others_join() -> None:
    few, many = assign(patients(EXACT_BELOW), RATIO, 0), assign(patients(5 * EXACT_BELOW), RATIO, 0)
    assert all(many[identity] == split for identity, split in few.items())


def test_the_hash_keeps_the_ratio_and_another_seed_another_division() -> None:
    found = assign(patients(4000), RATIO, 0)
    shares = [sum(split == wanted for split in found.values()) / 4000 for wanted in range(3)]
    assert shares == pytest.approx(RATIO, abs=0.02)
    assert assign(patients(4000), RATIO, 1) != found


def test_the_hash_is_stable() -> None:
    """A golden value: a change would move patients from train to test in every data set."""
    assert split_hash("\0P1", 0) == pytest.approx(0.22229588357691588, abs=1e-15)


@given(st.integers(1, EXACT_BELOW - 1), RATIOS, st.integers(0, 3))
def test_small_sets_have_exact_quotas(count: int, ratio: Ratio, seed: int) -> None:
    found = list(assign(patients(count), ratio, seed).values())
    assert tuple(found.count(split) for split in range(3)) == quotas(count, ratio)


@given(st.integers(0, 500), RATIOS)
def test_quotas_add_up_and_are_within_one_of_the_ratio(count: int, ratio: Ratio) -> None:
    given = quotas(count, ratio)
    assert sum(given) == count
    assert all(abs(number - count * share) < 1 + 1e-6 for number, share in zip(given, ratio, strict=True))
    assert all(number == 0 for number, share in zip(given, ratio, strict=True) if share == 0)


def test_every_class_is_divided_like_the_whole() -> None:
    strata = {f"{name}{number}": name for name, count in (("a", 60), ("b", 30), ("c", 20)) for number in range(count)}
    found = assign(strata, RATIO, 0)
    for name, count in (("a", 60), ("b", 30), ("c", 20)):
        for split, share in enumerate(RATIO):
            mine = sum(found[identity] == split for identity, stratum in strata.items() if stratum == name)
            assert abs(mine - count * share) <= 1.5, (name, split)


def test_three_patients_leave_a_split_empty_and_all_in_train_is_all_in_train() -> None:
    assert sorted(assign(patients(3), RATIO, 0).values()) == [0, 0, 2]
    assert set(assign(patients(500), (1.0, 0.0, 0.0), 0).values()) == {0}


@pytest.mark.parametrize(
    "text", ["", "75/25", "75/10/16", "a/b/c", "-10/60/50", "120/-10/-10", "75:10:15", "nan/50/50"]
)
def test_what_is_no_division_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--split"):
        parse_ratio(text)


def test_the_rule_in_the_manifest_says_how() -> None:
    assert parse_ratio("75/10/15") == RATIO
    assert rule(RATIO, 0, 3, 0, True) | {"hash": ""} == {
        "unit": "patient",
        "ratio": [75, 10, 15],
        "seed": 0,
        "method": "exact quotas in order of hash",
        "hash": "",
        "stratified_by_class": True,
        "quotas": {"train": 2, "val": 0, "test": 1},
        "given_patients": 0,
    }
    assert rule(RATIO, 0, 300, 0, True)["method"] == "hash"
    assert not rule(RATIO, 0, 300, 0, True)["stratified_by_class"]
