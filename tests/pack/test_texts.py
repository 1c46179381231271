"""What comes out of a few bytes is what went in, to the last character."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radload.pack.texts import Paths, Texts, Uids

ANY = st.text(st.characters(codec="utf-8") | st.sampled_from("\udc80\udcff\0/.19af"), max_size=12)
LAX = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine


@LAX
@given(st.lists(ANY | st.text("0123456789.", max_size=9)))
def test_texts_and_uids(texts: list[str]) -> None:
    plain, uids = Texts(), Uids()
    for text in texts:
        plain.append(text)
        uids.append(text)
    assert [plain[place] for place in range(len(plain))] == texts
    assert [uids[place] for place in range(len(texts))] == texts


@LAX
@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "\udcff", "a.b"]), min_size=1, max_size=4).map("/".join)))
def test_paths(texts: list[str]) -> None:
    """Empty names, slashes at both ends, and folders that come again included."""
    paths = Paths()
    for text in texts:
        paths.append(text)
    assert [paths[place] for place in range(len(paths))] == texts
    assert [paths.raw(place) for place in range(len(paths))] == [t.encode("utf-8", "surrogateescape") for t in texts]


def test_neighbours_share_their_folder_and_uids_take_half() -> None:
    paths, uids = Paths(), Uids()
    for place in range(1000):
        paths.append(f"hospital/patient-000001/series/IM{place:04d}.dcm")
        uids.append(f"1.2.826.0.1.3680043.8.498.{place:026d}")
    assert len(paths._folders) == 1 and len(paths._names._bytes) == 10_000
    assert len(uids._texts._bytes) == 26_000
