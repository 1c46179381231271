"""Which pass over the anatomy a frame belongs to: echo, time point, acquisition (PS3.3 C.7.6.2, C.8.3.1, C.7.6.16.2.2)."""

from __future__ import annotations

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_groups import Groups

Phase = tuple[int, int, int]


def phases_of(elements: Elements, groups: Groups, frames: int) -> tuple[Phase, ...]:
    """Per frame (echo, temporal position, acquisition), 0 where the file does not say.

    Classic images: Echo Number(s), Temporal Position Identifier, Acquisition Number. Enhanced ones: Frame Content's Temporal Position
    Index and Frame Acquisition Number; an echo is told by its Effective Echo Time, in microseconds.
    """
    if not groups.frames:
        own = (tags.EchoNumbers, tags.TemporalPositionIdentifier, tags.AcquisitionNumber)
        echo, time, acquisition = (_whole(elements, tag, "IS") for tag in own)
        return ((echo, time, acquisition),) * frames
    found = []
    for frame in range(frames):
        content = groups.macro(frame, tags.FrameContentSequence)
        echoes = groups.macro(frame, tags.MREchoSequence)
        found.append(
            (
                0 if echoes is None else _whole(echoes, tags.EffectiveEchoTime, "FD", 1000),
                0 if content is None else _whole(content, tags.TemporalPositionIndex, "UL"),
                0 if content is None else _whole(content, tags.FrameAcquisitionNumber, "US"),
            )
        )
    return tuple(found)


def _whole(elements: Elements, tag: int, vr: str, scale: int = 1) -> int:
    values = elements.hint(tag, vr)
    return round(values[0] * scale) if values else 0
