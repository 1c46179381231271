"""Where a DICOM frame lies and how large its pixels are (PS3.3 C.7.6.2, 10.7.1), classic and enhanced."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_groups import Groups

Vector = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Geometry:
    """As in `Slice`: millimetres (but for the source "ratio"), patient coordinates (LPS), None where the file does not say."""

    spacing: tuple[float, float] | None
    spacing_source: str
    position: Vector | None
    orientation: Orientation | None


def geometry_of(elements: Elements, groups: Groups, frame: int) -> Geometry:
    """Spacing, position and orientation of one frame."""
    position, orientation = plane_of(elements, groups, frame)
    measures = groups.elements(frame, tags.PixelMeasuresSequence, elements)
    sources = (
        (measures, tags.PixelSpacing, "pixel"),
        (elements, tags.ImagerPixelSpacing, "imager"),  # in the plane of the detector: larger than in the patient
        (elements, tags.NominalScannedPixelSpacing, "nominal"),
    )
    for where, tag, name in sources:
        values = where.hint(tag, "DS")
        if len(values) == 2 and values[0] > 0 and values[1] > 0:
            return Geometry((values[0], values[1]), name, position, orientation)
    aspect = elements.hint(tags.PixelAspectRatio, "IS")  # vertical \ horizontal, where no size is known (C.7.6.3.1.7)
    if len(aspect) == 2 and aspect[0] > 0 and aspect[1] > 0:
        return Geometry((aspect[0], aspect[1]), "ratio", position, orientation)
    return Geometry(None, "", position, orientation)


def plane_of(elements: Elements, groups: Groups, frame: int) -> tuple[Vector | None, Orientation | None]:
    """Image Position (Patient) and Image Orientation (Patient) of one frame."""
    where = groups.elements(frame, tags.PlanePositionSequence, elements)
    position = where.hint(tags.ImagePositionPatient, "DS")
    where = groups.elements(frame, tags.PlaneOrientationSequence, elements)
    orientation = where.hint(tags.ImageOrientationPatient, "DS")
    return (
        (position[0], position[1], position[2]) if len(position) == 3 else None,
        (orientation[0], orientation[1], orientation[2], orientation[3], orientation[4], orientation[5])
        if len(orientation) == 6
        else None,
    )


def stack_of(planes: list[tuple[Vector | None, Orientation | None]]) -> tuple[tuple[float, ...] | None, Vector | None]:
    """(positions along the normal, normal) of frames with these planes; None where a plane is unknown or the normals differ."""
    normals = [None if orientation is None else normal_of(orientation) for _, orientation in planes]
    first = normals[0] if normals else None
    if first is None:
        return None, None
    rounded = round_normal(first)
    if any(normal is None or round_normal(normal) != rounded for normal in normals):
        return None, None
    if len(planes) > 1 and len({position for position, _ in planes}) == 1:
        return None, rounded  # one position for all frames orders nothing: a cine, or a file that names only the first
    positions = tuple(_dot(position, first) for position, _ in planes if position is not None)
    return (positions if len(positions) == len(planes) else None), rounded


def normal_of(orientation: Orientation) -> Vector | None:
    """Unit normal of the plane: direction of a row times direction of a column; None where the two do not span one."""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    cross = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*cross)
    return (cross[0] / length, cross[1] / length, cross[2] / length) if length > 1e-6 else None


def round_normal(normal: Vector) -> Vector:
    """To 3 decimals, without negative zeros: equal for the slices of one stack."""
    x, y, z = (round(value, 3) + 0.0 for value in normal)
    return x, y, z


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
