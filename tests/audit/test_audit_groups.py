"""Grouping by sorting finds what a dictionary finds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.audit.groups import equal_rows

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60)


@given(PAIRS)
def test_groups_are_those_of_a_dictionary(pairs: list[tuple[int, int]]) -> None:
    values = np.array(pairs, np.uint64).reshape(-1, 2)
    found = [members.tolist() for members in equal_rows(values)]
    mine: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, pair in enumerate(pairs):
        mine[pair].append(row)
    assert found == sorted(rows for rows in mine.values() if len(rows) > 1)


@given(PAIRS, st.lists(st.integers(-1, 2), min_size=60, max_size=60), st.data())
def test_what_differs_within_a_group(pairs: list[tuple[int, int]], codes: list[int], data: st.DataObject) -> None:
    groups = equal_rows(np.array(pairs, np.uint64).reshape(-1, 2))
    labels = np.array(codes, np.int32)
    multi = np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=120, max_size=120)), np.float32)
    multi = multi.reshape(60, 2)
    members = list(groups)
    assert groups.differ(labels).tolist() == [len(set(labels[rows].tolist())) > 1 for rows in members]
    assert groups.differ_where_known(labels, "single").tolist() == [
        len({code for code in labels[rows].tolist() if code >= 0}) > 1 for rows in members
    ]
    assert groups.differ_where_known(multi, "multi").tolist() == [
        any({0.0, 1.0} <= set(multi[rows, c].tolist()) for c in range(2)) for rows in members
    ]
    chosen = labels[: len(groups)] > 0
    assert [rows.tolist() for rows in groups.take(chosen)] == [
        rows.tolist() for rows, keep in zip(members, chosen.tolist(), strict=True) if keep
    ]


@pytest.mark.parametrize("rows", [0, 1])
def test_short_arrays(rows: int) -> None:
    assert len(equal_rows(np.zeros((rows, 2), np.uint64))) == 0


def test_rows_that_share_half_a_hash_are_apart() -> None:
    assert len(equal_rows(np.array([[7, 1], [7, 2], [8, 1]], np.uint64))) == 0
