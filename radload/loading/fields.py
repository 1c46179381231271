"""The arrays of a slot that every device asks for; what it adds is in `sinks` and `streams`."""

from __future__ import annotations

from radload.loading.planning import views
from radload.loading.planning.plan import Settings

Fields = dict[str, tuple[str, tuple[int, ...]]]  # name -> (dtype, shape), see ring.Layout.of


def base_fields(batch_size: int, settings: Settings) -> Fields:
    """Arrays of a slot on every device: rows of the index (-1: padding), whether they hold a sample, and masks where wanted."""
    fields: Fields = {"rows": ("<i8", (batch_size,)), "valid": ("?", (batch_size,))}
    return fields | views.fields(batch_size, settings.views, settings.size, settings.channels, None, settings.masks)
