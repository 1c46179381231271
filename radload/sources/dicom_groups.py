"""Functional groups of enhanced multi-frame images (PS3.3 C.7.6.16): the same questions, answered per frame."""

from __future__ import annotations

from dataclasses import dataclass

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements

_NOTHING = Elements({})


@dataclass(frozen=True, slots=True)
class Groups:
    """The macros of an enhanced image: those of every frame and those of each; both empty for a classic image."""

    shared: Elements
    frames: tuple[Elements, ...]

    def macro(self, frame: int, tag: int) -> Elements | None:
        """The item of macro `tag` that holds for `frame`: the frame's own, else the shared one, else None."""
        if frame < len(self.frames):
            own = self.frames[frame].item(tag)
            if own is not None:
                return own
        return self.shared.item(tag)

    def items(self, frame: int, tag: int, top: Elements) -> tuple[Elements, ...]:
        """All items of macro `tag` that hold for `frame`: the frame's own, else the shared ones, else those of `top`."""
        own = self.frames[frame].items(tag) if frame < len(self.frames) else ()
        return own or self.shared.items(tag) or top.items(tag)

    def elements(self, frame: int, tag: int, top: Elements) -> Elements:
        """Like `macro`, and `top`, the main data set, where no macro holds."""
        macro = self.macro(frame, tag)
        return top if macro is None else macro


def groups_of(elements: Elements) -> Groups:
    """The functional groups of a data set."""
    return Groups(
        elements.item(tags.SharedFunctionalGroupsSequence) or _NOTHING,
        elements.items(tags.PerFrameFunctionalGroupsSequence),
    )
