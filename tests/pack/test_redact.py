"""Cut and blanked frames: what stays keeps its value and its place in the patient, what goes leaves nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.pack.redact import Rectangle, Redaction, box, gaps, inside, overlap, redact
from radload.sources import Refused, Slice

RANDOM = np.random.default_rng(0)


def slice_of(stored: Any, **changes: Any) -> Slice:
    return Slice(frame=0, stored=stored, **changes)


def rectangles(side: int = 12) -> st.SearchStrategy[Rectangle]:
    corner = st.integers(0, side - 1)
    return st.tuples(corner, corner, st.integers(1, side), st.integers(1, side))


@given(st.lists(rectangles(), min_size=1, max_size=5))
def test_gaps_are_the_box_without_the_rectangles_each_pixel_once(found: list[Rectangle]) -> None:
    covered = np.zeros((30, 30), int)
    wanted = np.zeros((30, 30), bool)
    top, left, height, width = box(found)
    wanted[top : top + height, left : left + width] = True
    for y, x, tall, wide in found:
        wanted[y : y + tall, x : x + wide] = False
    for y, x, tall, wide in gaps(found):
        covered[y : y + tall, x : x + wide] += 1
    np.testing.assert_array_equal(covered, wanted.astype(int))


@given(rectangles(), rectangles())
def test_overlap_is_what_both_cover(one: Rectangle, other: Rectangle) -> None:
    def pixels(rectangle: Rectangle | None) -> set[tuple[int, int]]:
        top, left, height, width = rectangle or (0, 0, 0, 0)
        return {(y, x) for y in range(top, top + height) for x in range(left, left + width)}

    assert pixels(overlap(one, other)) == pixels(one) & pixels(other)


def test_inside() -> None:
    assert inside((0, 0, 5, 7), 5, 7) and inside((4, 6, 1, 1), 5, 7)
    outside = [(-1, 0, 2, 2), (0, -1, 2, 2), (0, 0, 6, 7), (0, 0, 5, 8), (4, 6, 1, 2), (0, 0, 0, 3), (0, 0, 3, -1)]
    assert not any(inside(one, 5, 7) for one in outside)


def test_nothing_to_do_changes_nothing() -> None:
    image = slice_of(RANDOM.integers(0, 9, (4, 5)))
    assert redact(image, None) is image


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_a_crop_keeps_values_and_tells_where_it_was(shape: tuple[int, ...]) -> None:
    stored = RANDOM.integers(0, 65536, shape).astype(np.uint16)
    image = redact(slice_of(stored, photometric="RGB" if len(shape) == 3 else "MONOCHROME2"), Redaction((3, 4, 10, 20)))
    np.testing.assert_array_equal(image.stored, stored[3:13, 4:24])
    assert image.stored.flags["C_CONTIGUOUS"] and image.stored.dtype == np.uint16
    assert (image.cropped, image.masked) == ((3, 4, 10, 20), 0)


def test_the_first_pixel_keeps_its_place_in_the_patient() -> None:
    """PS3.3 C.7.6.2.1.1: along a row by the column spacing, down a column by the row spacing."""
    place: dict[str, Any] = {"position": (1.0, 2.0, 3.0), "orientation": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)}
    stored, crop = np.zeros((20, 30), np.int16), Redaction((3, 4, 10, 20))
    moved = redact(slice_of(stored, spacing=(0.5, 0.25), spacing_source="pixel", **place), crop)
    assert moved.position == (1.0, 2.0 + 4 * 0.25, 3.0 - 3 * 0.5)
    assert moved.spacing == (0.5, 0.25) and moved.orientation == place["orientation"]
    assert redact(slice_of(stored, **place), crop).position is None
    assert redact(slice_of(stored, spacing=(0.5, 0.25), spacing_source="imager", **place), crop).position is None
    assert redact(slice_of(stored, **place), Redaction((0, 0, 10, 20))).position == place["position"]


def test_masks_count_in_the_whole_frame_and_blank_what_the_crop_leaves() -> None:
    stored = RANDOM.integers(50, 200, (20, 30)).astype(np.uint8)
    stored[5:8, 6:9] = 255
    before = stored.copy()
    image = redact(slice_of(stored), Redaction((4, 5, 12, 20), ((5, 6, 3, 3), (0, 0, 4, 30), (15, 20, 5, 10))))
    expected = before[4:16, 5:25].copy()
    hidden = np.zeros((20, 30), bool)
    hidden[5:8, 6:9] = hidden[15:20, 20:30] = True
    hidden = hidden[4:16, 5:25]
    expected[hidden] = expected[~hidden].min()
    np.testing.assert_array_equal(image.stored, expected)
    assert image.masked == 2 and image.cropped == (4, 5, 12, 20) and image.exact
    np.testing.assert_array_equal(stored, before)  # the caller's array stays as it was


def test_masks_alone_leave_size_and_place() -> None:
    stored = RANDOM.integers(-500, 900, (8, 9)).astype(np.int16)
    image = redact(slice_of(stored, position=(1.0, 2.0, 3.0), padding=(-2000, -2000)), Redaction(None, ((0, 0, 2, 9),)))
    assert (image.cropped, image.masked, image.position) == (None, 1, (1.0, 2.0, 3.0))
    assert (image.stored[:2] == -2000).all()
    np.testing.assert_array_equal(image.stored[2:], stored[2:])


def test_padding_that_the_type_cannot_hold_is_not_written() -> None:
    image = redact(slice_of(np.full((4, 5), 9, np.uint16), padding=(-2000, -2000)), Redaction(None, ((0, 0, 1, 1),)))
    assert (image.stored == 9).all()


def test_a_blank_pixel_is_dark_in_every_colour_model() -> None:
    colour = RANDOM.integers(30, 200, (6, 7, 3)).astype(np.uint8)
    mask = Redaction(None, ((0, 0, 2, 3),))
    rgb = redact(slice_of(colour, photometric="RGB", bits_stored=8), mask).stored
    visible = np.ones((6, 7), bool)
    visible[:2, :3] = False
    assert (rgb[:2, :3] == colour[visible].min()).all()
    ybr = redact(slice_of(colour, photometric="YBR_FULL", bits_stored=8), mask).stored
    assert (ybr[:2, :3] == [colour[visible][:, 0].min(), 128, 128]).all()
    palette = np.array([[9, 9, 9], [200, 0, 0], [1, 0, 1], [255, 255, 255]], np.uint16)
    index = RANDOM.integers(10, 14, (6, 7)).astype(np.uint8)
    done_index = redact(slice_of(index, photometric="PALETTE COLOR", palette=palette, palette_first=10), mask).stored
    assert (done_index[:2, :3] == 12).all()
    floats = RANDOM.normal(size=(6, 7)).astype(np.float32)
    floats[3, 3] = np.nan
    assert (redact(slice_of(floats), mask).stored[:2, :3] == np.nanmin(floats[visible])).all()


def test_a_mask_over_everything_leaves_zeros() -> None:
    image = redact(slice_of(np.full((3, 4), 77, np.uint8)), Redaction(None, ((0, 0, 3, 4),)))
    assert (image.stored == 0).all()


def test_a_frame_of_another_size_is_refused() -> None:
    for redaction in (Redaction((0, 0, 9, 9)), Redaction(None, ((0, 0, 1, 9),))):
        with pytest.raises(Refused, match="changed-file"):
            redact(slice_of(np.zeros((8, 8), np.uint8)), redaction)
