"""From shards to batches: order, reading, decoding, rendering, and the `Loader` that hands them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radload.loading.loader import Loader
    from radload.loading.mixture import Mixture
    from radload.loading.planning.augment import Augment
    from radload.loading.planning.recipe import Recipe
    from radload.loading.preparation import Preparation

__all__ = ["Augment", "Loader", "Mixture", "Preparation", "Recipe"]


def __getattr__(name: str) -> Any:
    """Imported when first asked for: the loader's own process needs this package, but neither `Loader` nor torch."""
    if name == "Loader":
        from radload.loading.loader import Loader

        return Loader
    if name == "Mixture":
        from radload.loading.mixture import Mixture

        return Mixture
    if name == "Preparation":
        from radload.loading.preparation import Preparation

        return Preparation
    if name == "Augment":
        from radload.loading.planning.augment import Augment

        return Augment
    if name == "Recipe":
        from radload.loading.planning.recipe import Recipe

        return Recipe
    raise AttributeError(f"module 'radload.loading' has no attribute {name!r}")
