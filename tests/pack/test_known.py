"""Names in 16 bytes each are told apart as the names themselves are."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radload.pack.known import KnownNames, Name

NAMES = st.tuples(*[st.none() | st.text("ab\0,'\\\udcff", max_size=3)] * 3)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # the first draw, on a busy machine
@given(st.lists(st.lists(NAMES, max_size=5), max_size=4), st.lists(NAMES, max_size=10))
def test_a_known_name_is_known_and_no_other(parts: list[list[Name]], asked: list[Name]) -> None:
    """Empty and missing texts, and those that look like the border of two, are different names."""
    known = {name for part in parts for name in part}
    names = KnownNames(parts)
    assert len(names) == len(known)
    wanted = [*asked, *sorted(known, key=repr)]
    assert names.has(wanted).tolist() == [name in known for name in wanted]


def test_many_names_in_few_bytes() -> None:
    parts = ([(f"P{i}", None, f"1.2.{i}") for i in range(start, start + 1000)] for start in range(0, 50_000, 1000))
    names = KnownNames(parts)
    assert len(names) == 50_000 and names._digests.nbytes == 16 * 50_000
    assert names.has([("P7", None, "1.2.7"), ("P7", "", "1.2.7"), ("P7", None, "1.2.8")]).tolist() == [
        True,
        False,
        False,
    ]
