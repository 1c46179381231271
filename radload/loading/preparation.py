"""`Preparation`: all that decides a pixel in evaluation, from the stored file to the tensor. Saved with every network.

What a loader adds in training (augmentation, order) is no part of it, and neither is what never changes a pixel (threads, ranks,
caches).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from radload.dataset.manifest import Manifest
from radload.errors import UsageError
from radload.loading.arguments import output_dtype, output_size
from radload.loading.order.strata import UNIFORM
from radload.loading.planning.fit import STRETCH, Spacing, check_fit
from radload.loading.planning.levels import check_resolution
from radload.loading.planning.neighbours import Neighbours, check_neighbours
from radload.loading.planning.plan import Settings
from radload.loading.planning.recipe import Recipe

VERSION = 1  # of the rules by which these numbers become pixels


@dataclass(frozen=True, slots=True)
class Preparation:
    """How files become what a network was trained on.

    Attributes:
        size: (height, width) in pixels; recipe: windows, mean and deviation; dtype: "float32", "float16" or "bfloat16".
        level_slack, resolution: which resolution level is decoded (docs/loading.md); fit, spacing: how it is laid into the output.
        codec, color, axis, wide, transform: options of `radload pack` that decided the stored values.
        us_regions_cropped: ultrasound was cropped to its scan regions.
        decisions: SHA-256 of the decisions.toml by which groups of files were cropped or blanked, None without.
        whole_series: False where the pack left slices of series out, so that the series' statistics are of those that were packed.
        neighbours: slices beside a slice as its channels.
    """

    size: tuple[int, int]
    recipe: Recipe
    dtype: str = "float32"
    level_slack: float = 1.0
    resolution: str = "auto"
    fit: str = STRETCH
    spacing: Spacing | None = None
    codec: str = "htj2k"
    color: str = "auto"
    axis: int = 2
    wide: str = "raw"
    transform: str | None = None
    us_regions_cropped: bool = False
    decisions: str | None = None
    whole_series: bool = True
    neighbours: Neighbours = field(default_factory=Neighbours)

    @classmethod
    def of(cls, settings: Settings, manifest: Manifest) -> Preparation:
        """What a loader of these settings does to the data set of this manifest."""
        names = ("size", "recipe", "dtype", "level_slack", "resolution", "fit", "spacing", "neighbours")
        burned_in, encoding = manifest.burned_in, manifest.encoding
        return cls(
            **{name: getattr(settings, name) for name in names},
            **{name: encoding[name] for name in ("color", "axis", "wide", "whole_series") if name in encoding},
            codec=manifest.codec,
            transform=manifest.transform,
            us_regions_cropped=bool(burned_in.get("us_regions_cropped")),
            decisions=(burned_in.get("decisions") or [None])[-1],  # what an append would apply today
        )

    @property
    def settings(self) -> Settings:
        """As a loader in evaluation has them."""
        return Settings(
            size=self.size,
            recipe=self.recipe,
            dtype=self.dtype,
            level_slack=self.level_slack,
            resolution=self.resolution,
            augment=None,
            seed=0,
            fit=self.fit,
            spacing=self.spacing,
            neighbours=self.neighbours,
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON; `from_dict` reads it back."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        content |= {"size": list(self.size), "recipe": self.recipe.as_dict(), "neighbours": self.neighbours.as_dict()}
        content["spacing"] = None if self.spacing is None else list(self.spacing)
        return {"version": VERSION, **content}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Preparation:
        """What `as_dict` wrote. Raises UsageError for anything else."""
        values = dict(content)
        version = values.pop("version", None)
        if version != VERSION:
            raise UsageError(
                f"a preparation of version {version} cannot be used, this radload knows {VERSION}: install the radload that wrote it"
            )
        try:
            values["size"] = output_size(tuple(values["size"]))
            values["recipe"] = Recipe.from_dict(values["recipe"])
            values["dtype"] = output_dtype(values["dtype"])
            check_resolution(values["resolution"], values["level_slack"])
            spacing = values["spacing"]
            values["fit"], values["spacing"] = check_fit(values["fit"], None if spacing is None else tuple(spacing))
            beside = values["neighbours"]
            values["neighbours"] = check_neighbours(beside["count"], beside["spacing"], beside["edges"], UNIFORM)
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"this is no preparation as Preparation.as_dict() writes it ({error})") from None
