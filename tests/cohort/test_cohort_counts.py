"""Small groups are hidden, and cannot be told from the total of their row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.cohort.counts import SMALLEST, Count, Members, hide, patients_text


def row(*patients: int) -> tuple[Count, ...]:
    return tuple(Count(n, 2 * n, 3 * n, 4 * n) for n in (*patients, sum(patients)))


@pytest.mark.parametrize(
    ("patients", "texts"),
    [
        ((40, 12, 9), ["40", "12", "9", "61"]),
        ((40, 0, 9), ["40", "0", "9", "49"]),
        ((40, 4, 9), ["40", "<5", "9", "≥50"]),
        ((40, 4, 1), ["40", "<5", "<5", "≥42"]),
        ((2, 2, 4), ["<5", "<5", "<5", "≥5"]),
        ((3, 0, 0), ["<5", "0", "0", "<5"]),
        ((1200, 5, 1), ["1,200", "5", "<5", "≥1,206"]),
    ],
)
def test_small_groups_are_hidden(patients: tuple[int, ...], texts: list[str]) -> None:
    hidden = hide(row(*patients))
    assert [count.patients_text for count in hidden] == texts
    assert [count.text("patients") for count in hidden] == texts
    for count, text in zip(hidden, texts, strict=True):
        if text.startswith("<"):
            assert [count.text(name) for name in ("studies", "series", "samples")] == ["", "", ""]
        if text.startswith("≥"):
            assert [count.text(name) for name in ("studies", "series")] == ["", ""]


@given(st.tuples(*[st.integers(0, 12)] * 3))
def test_what_is_shown_leaves_at_least_two_possibilities(patients: tuple[int, ...]) -> None:
    """Of all rows that would be shown alike, a hidden split has not always the same number."""
    shown = [count.patients_text for count in hide(row(*patients))]
    places = [i for i, count in enumerate(hide(row(*patients))[:3]) if count.hidden]
    alike = []
    for first in range(1, SMALLEST):
        for second in range(1, SMALLEST):
            for third in range(1, SMALLEST):
                guess = list(patients)
                for place, value in zip(places, (first, second, third), strict=False):
                    guess[place] = value
                if [count.patients_text for count in hide(row(*guess))] == shown:
                    alike.append(tuple(guess))
    for place in places:
        assert len({guess[place] for guess in alike}) > 1
    assert patients in alike


def test_members_are_counted_once() -> None:
    members = Members(*(np.array(column) for column in ([0, 0, 0, 2], [7, 7, 1, 3], [0, 1, 2, 3], [5, 6, 7, 8])))
    counts = members.count(np.array([True, True, False, True]), exact=True)
    assert [(c.patients, c.studies, c.series, c.samples) for c in counts] == [
        (1, 2, 2, 11),
        (0, 0, 0, 0),
        (1, 1, 1, 8),
        (2, 3, 3, 19),
    ]
    assert all(not count.hidden for count in counts)
    assert all(count.hidden for count in members.count(np.ones(4, bool), exact=False) if count.patients)
    assert (patients_text(4, False), patients_text(4, True), patients_text(0, False)) == ("<5", "4", "0")
