"""Labels of one plane: what masks of every kind hold becomes small whole numbers, exactly, or is refused; and it must lie on its image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from radload.pack.mask_planes import check_same_plane, labels_of, segment_labels
from radload.sources import Lut, Refused, Segmentation, SegmentationType, Slice

PLANE = Slice(
    0,
    np.zeros((8, 6), np.int16),
    spacing=(2.0, 0.5),
    position=(1.0, 2.0, 3.0),
    orientation=(1.0, 0.0, 0.0, 0.0, 0.8, 0.6),
)


def code(call: Any, *arguments: Any) -> str:
    with pytest.raises(Refused) as refused:
        call(*arguments)
    return refused.value.code


@given(
    st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", "<i4", "<u4", "<i8", "<f4", ">f4", "<f8"]).flatmap(
        lambda dtype: arrays.arrays(
            dtype, (3, 4), elements=st.integers(0, 127 if dtype in ("u1", "i1") else 32767).map(np.dtype(dtype).type)
        )
    )
)
def test_whole_numbers_of_any_type_are_labels(values: np.ndarray[Any, Any]) -> None:
    labels = labels_of(Slice(0, values))
    np.testing.assert_array_equal(labels, values.astype(np.int64))
    assert labels.dtype == (np.uint8 if values.max() <= 255 else np.uint16) and labels.dtype.isnative


def test_a_rescale_belongs_to_the_labels() -> None:
    stored = np.array([[0, 2], [4, 600]], np.int16)
    np.testing.assert_array_equal(labels_of(Slice(0, stored, slope=0.5)), [[0, 1], [2, 300]])
    np.testing.assert_array_equal(
        labels_of(Slice(0, np.array([[3, 4]]), modality_lut=Lut(3, np.array([7.0, 0.0])))), [[7, 0]]
    )
    assert code(labels_of, Slice(0, stored, slope=0.3)) == "mask-values"


def test_grey_of_three_channels_counts_as_one_and_colours_are_no_labels() -> None:
    grey = np.repeat(np.array([[0, 255], [1, 0]], np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(labels_of(Slice(0, grey)), grey[..., 0])
    grey[0, 0, 2] = 1
    assert code(labels_of, Slice(0, grey)) == "mask-values"


@pytest.mark.parametrize("value", [-1, 65536, 0.5, np.nan, np.inf])
def test_other_values_are_no_labels(value: float) -> None:
    assert code(labels_of, Slice(0, np.array([[0, value]]))) == "mask-values"


def segmentation(
    kind: str, segments: tuple[int, ...] = (1,), maximum: int = 1, numbers: tuple[int, ...] = (1,)
) -> Segmentation:
    empty: frozenset[str] = frozenset()
    return Segmentation(SegmentationType(kind), maximum, segments, ((),), empty, empty, frozenset(numbers), ())


def test_a_binary_frame_has_its_segments_number() -> None:
    frame = Slice(1, np.array([[0, 1], [1, 0]], np.uint8))
    np.testing.assert_array_equal(segment_labels(frame, segmentation("BINARY", (9, 300))), [[0, 300], [300, 0]])
    assert segment_labels(frame, segmentation("BINARY", (9, 300))).dtype == np.uint16
    assert segment_labels(frame, segmentation("BINARY", (9, 3))).dtype == np.uint8


@pytest.mark.parametrize(("maximum", "first"), [(255, 128), (100, 50), (1, 1), (3, 2)])
def test_a_fraction_of_one_half_or_more_belongs_to_the_segment(maximum: int, first: int) -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    labels = segment_labels(Slice(0, stored), segmentation("FRACTIONAL", (4,), maximum))
    np.testing.assert_array_equal(labels, np.where(stored >= first, 4, 0))


def test_a_label_map_holds_its_numbers_and_its_background_is_zero() -> None:
    stored = np.array([[7, 1], [2, 300]], np.uint16)
    np.testing.assert_array_equal(segment_labels(Slice(0, stored), segmentation("LABELMAP", (0,))), stored)
    padded = Slice(0, stored, padding=(7, 7))
    np.testing.assert_array_equal(segment_labels(padded, segmentation("LABELMAP", (0,))), [[0, 1], [2, 300]])
    assert code(segment_labels, padded, segmentation("LABELMAP", (0,), numbers=(0, 1))) == "mask-values"
    assert code(segment_labels, Slice(0, np.zeros((2, 2, 3), np.uint8)), segmentation("LABELMAP")) == "mask-values"


def test_a_mask_lies_on_its_image_to_a_tenth_of_a_pixel() -> None:
    check_same_plane(PLANE, PLANE)
    check_same_plane(PLANE, replace(PLANE, position=(1.04, 2.0, 3.0)))  # of 0.5 mm
    assert code(check_same_plane, PLANE, replace(PLANE, position=(1.06, 2.0, 3.0))) == "mask-grid-differs"
    assert code(check_same_plane, PLANE, replace(PLANE, position=(1.0, 2.0, 3.1))) == "mask-grid-differs"


@pytest.mark.parametrize(
    "other",
    [
        {"spacing": (2.02, 0.5)},
        {"spacing": (0.5, 2.0)},
        {"orientation": (-1.0, 0.0, 0.0, 0.0, 0.8, 0.6)},  # a mirrored mask has the same size
        {"orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
        {"stored": np.zeros((6, 8), np.uint8)},
    ],
)
def test_another_plane_of_the_same_centre_is_another_plane(other: dict[str, Any]) -> None:
    assert code(check_same_plane, PLANE, replace(PLANE, **other)) == "mask-grid-differs"


def test_without_a_position_the_size_decides() -> None:
    check_same_plane(PLANE, Slice(0, np.zeros((8, 6), np.uint8)))
    assert (
        code(check_same_plane, Slice(0, np.zeros((8, 6))), Slice(0, np.zeros((8, 5), np.uint8))) == "mask-grid-differs"
    )
