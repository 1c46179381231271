"""Several views of one decode, for self-supervision: global ones of the output's size, and local ones, smaller and closer (multi-crop).

View v of a draw has the random numbers of (seed, epoch, position, v), so it is the same however many views there are beside it, but
for its level: a slice is decoded once, at the lowest level that any of its views needs. Multi-crop: Caron et al., "Unsupervised
Learning of Visual Features by Contrasting Cluster Assignments", 2020; sizes and areas of the local views as in DINO (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray

from radload.errors import UsageError
from radload.loading import masks
from radload.loading.planning.augment import LEAST_AREA, Augment

IMAGE, LOCAL, LOCAL_MASK = "image", "local", "local_mask"
MAX_VIEWS = 64
Area = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Views:
    """Views of a draw: numbers 0 to count - 1 are global, the next `local` ones local.

    Attributes:
        count: global views; local: local ones.
        local_area: smallest and largest share of the image (or its frame) that a crop of the local views shows; that of the global
            ones is the augmentation's.
        local_size: (height, width) of the local views' output.
    """

    count: int = 1
    local: int = 0
    local_area: Area = (0.05, 0.32)
    local_size: tuple[int, int] = (96, 96)

    @property
    def total(self) -> int:
        """Views of a draw."""
        return self.count + self.local

    def size_of(self, view: int, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a view; size: of the global ones."""
        return size if view < self.count else self.local_size

    def augments(self, augment: Augment | None) -> list[Augment | None]:
        """The augmentation of each view, from that of the global ones."""
        local = None if augment is None else replace(augment, area=self.local_area)
        return [augment] * self.count + [local] * self.local

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Views:
        """What `as_dict` wrote."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
        return cls(**values)


def check_views(
    views: int,
    local_views: int,
    local_size: tuple[int, int],
    local_area: tuple[float, float],
    augment: Augment | None,
) -> Views:
    """The views that arguments of `Loader` ask for.

    Raises:
        UsageError: numbers out of range, or several views that no augmentation would tell apart.
    """
    for name, value, least in (("views", views, 1), ("local_views", local_views, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_VIEWS:
            raise UsageError(f"{name}={value!r} cannot be used: give {least} to {MAX_VIEWS}")
    if augment is None and views + local_views > 1:
        raise UsageError(
            f"views={views} with local_views={local_views} needs random crops, and without augmentation every view is the whole "
            'image: give augment="default", or leave it out'
        )
    return Views(views, local_views, _share("local_area", local_area), local_size)


def _share(name: str, area: object) -> Area:
    """(low, high) of an argument; UsageError where it is none."""
    try:
        low, high = (float(v) for v in area)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = 0.0
    if not LEAST_AREA <= low <= high <= 1:
        raise UsageError(
            f"{name}={area!r} cannot be used: give two shares of the image, {LEAST_AREA} <= low <= high <= 1"
        )
    return low, high


def fields(
    batch_size: int, views: Views, size: tuple[int, int], channels: int, image: str | None, mask: bool
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Arrays of a slot for images of dtype `image` (None: none) and masks; a single global view has no axis of views."""
    kinds = [(IMAGE, masks.FIELD, () if views.count == 1 else (views.count,), size)]
    if views.local:
        kinds.append((LOCAL, LOCAL_MASK, (views.local,), views.local_size))
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, mask_name, leading, shape in kinds:
        if image is not None:
            found[name] = (image, (*leading, batch_size, channels, *shape))
        if mask:
            found[mask_name] = (masks.DTYPE, (*leading, batch_size, *shape))
    return found


def by_view(arrays: Mapping[str, NDArray[Any]], views: Views) -> list[dict[str, NDArray[Any]]]:
    """Per view its "image" (N, ...) and "mask" (N, ...) in a slot, as far as the slot has them."""
    found = []
    for view in range(views.total):
        part = {}
        for name, local_name in ((IMAGE, LOCAL), (masks.FIELD, LOCAL_MASK)):
            array = arrays.get(name if view < views.count else local_name)
            if array is not None:
                alone = views.count == 1 and view == 0
                part[name] = array if alone else array[view if view < views.count else view - views.count]
        found.append(part)
    return found


def batch_axis(name: str, views: Views) -> int:
    """Which axis of a batch's column counts its samples."""
    return int(name in (LOCAL, LOCAL_MASK) or (name in (IMAGE, masks.FIELD) and views.count > 1))
