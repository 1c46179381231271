"""Recipes: which windows turn modality values into the channels of a batch. A small table, fixed for a run, printed and saved.

No window is ever guessed from one image: it is a number from the table, a statistic of the whole series (from the index),
or, on request, the window that the file itself names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import Any

from radload.errors import UsageError

# (centre, width) in HU. Radiopaedia, "Windowing (CT)" (rID-52108), where it gives one pair or the usual one of a range.
PRESETS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "lung": (-600.0, 1500.0),
        "mediastinum": (50.0, 350.0),
        "soft_tissue": (40.0, 400.0),
        "abdomen": (50.0, 400.0),
        "liver": (30.0, 150.0),
        "bone": (400.0, 1800.0),
        "temporal_bone": (600.0, 2800.0),
        "brain": (40.0, 80.0),
        "stroke": (32.0, 8.0),
        "subdural": (75.0, 215.0),
        "spine": (50.0, 250.0),
        "broad": (0.0, 2000.0),  # -1000 to 1000 HU, air to trabecular bone: the CT channel of a recipe with one
    }
)
FIXED, PERCENTILES, FROM_ZERO, DISPLAY = "fixed", "percentiles", "from_zero", "display"
RULES = (FIXED, PERCENTILES, FROM_ZERO, DISPLAY)
CT, DISPLAY_ROW, OTHER = "CT", "DISPLAY", "*"

# y is in [0, 1]; (y - 0.5) / 0.25 is in [-2, 2], about the range that weights trained on normalised photographs expect.
MEAN, STD = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Window:
    """One channel's window: y = clamp((value - (centre - width / 2)) / width, 0, 1), PS3.3 C.11.2.1.3.2 (LINEAR_EXACT).

    Attributes:
        rule: "fixed": centre and width below, in modality units (HU); "percentiles": 0.5th to 99.5th percentile of the
            series; "from_zero": 0 to the 99.5th percentile of the series; "display": the range of the stored type (0 to 255
            for 8 bits; for 16 bits 0 to 2**b - 1, b the first of 8, 10, 12, 14, 16 that holds the maximum of the series; the
            series' minimum to maximum for other types).
        centre, width: only for "fixed".
    """

    rule: str
    centre: float = 0.0
    width: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UsageError(f"a window's rule {self.rule!r} is unknown: choose one of {', '.join(RULES)}")
        if self.rule == FIXED and not (isfinite(self.centre) and isfinite(self.width) and self.width > 0):
            raise UsageError(
                f"window ({self.centre}, {self.width}) cannot be used: give a finite centre and a width above 0"
            )

    def describe(self) -> str:
        """A few words for the printed table."""
        if self.rule == FIXED:
            low, high = self.centre - self.width / 2, self.centre + self.width / 2
            return f"{self.centre:g}/{self.width:g} ({low:g} to {high:g})"
        return {
            PERCENTILES: "p0.5 to p99.5 of the series",
            FROM_ZERO: "0 to p99.5 of the series",
            DISPLAY: "range of the stored type",
        }[self.rule]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Windows for every sample of a data set, always `channels` of them.

    Attributes:
        name: what the user asked for.
        windows: modality -> windows. "CT" holds for CT in Hounsfield units only; "DISPLAY" for values that somebody has
            windowed already (PNG, JPEG, ultrasound); "*" for everything that has no row.
        file_voi: use the file's own VOI (PS3.3 C.11.2) where it has one, for every channel; the table where it has none.
        mean, std: per channel, applied to y in [0, 1] after the window.
    """

    name: str
    windows: Mapping[str, tuple[Window, ...]]
    file_voi: bool = False
    mean: tuple[float, ...] = (MEAN,)
    std: tuple[float, ...] = (STD,)
    channels: int = field(init=False)

    def __post_init__(self) -> None:
        counts = {len(row) for row in self.windows.values()}
        if OTHER not in self.windows or counts not in ({1}, {3}):
            raise UsageError(
                f"recipe {self.name!r} cannot be used: it needs a row {OTHER!r}, and 1 or 3 windows in every row"
            )
        channels = counts.pop()
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "windows", MappingProxyType({k: tuple(v) for k, v in self.windows.items()}))
        for name in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, name))
            values = values * channels if len(values) == 1 else values
            if len(values) != channels or not all(map(isfinite, values)) or (name == "std" and min(values) <= 0):
                raise UsageError(
                    f"{name}={values} of recipe {self.name!r} cannot be used: give one finite number, or {channels}; std above 0"
                )
            object.__setattr__(self, name, values)

    def row(self, modality: str, hounsfield: bool, display: bool) -> str:
        """The table's row for a series of a DICOM modality: in HU or not, already windowed for display or not."""
        if (display or modality == "US") and DISPLAY_ROW in self.windows:
            return DISPLAY_ROW
        if modality == CT and not hounsfield:
            return OTHER
        return modality if modality in self.windows else OTHER

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON; `from_dict` reads it back."""
        windows = {
            row: [
                {"rule": w.rule} | ({"centre": w.centre, "width": w.width} if w.rule == FIXED else {}) for w in entries
            ]
            for row, entries in self.windows.items()
        }
        return {
            "name": self.name,
            "channels": self.channels,
            "file_voi": self.file_voi,
            "mean": list(self.mean),
            "std": list(self.std),
            "windows": windows,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Recipe:
        """What `as_dict` wrote. Raises UsageError for anything else."""
        try:
            windows = {row: tuple(Window(**entry) for entry in entries) for row, entries in content["windows"].items()}
            return cls(content["name"], windows, content["file_voi"], tuple(content["mean"]), tuple(content["std"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"this is no recipe as Recipe.as_dict() writes it ({error})") from None

    def describe(self) -> str:
        """The table as text, a line per modality."""
        names = {CT: "CT (HU)", DISPLAY_ROW: "display, US", OTHER: "others"}
        width = max(len(names.get(row, row)) for row in self.windows)
        lines = [f"recipe {self.name}: {self.channels} channel{'s' * (self.channels > 1)}"]
        for row, entries in self.windows.items():
            words = [w.describe() for w in entries]
            words = words[:1] if len(set(words)) == 1 else words
            lines.append(f"  {names.get(row, row):{width}}  {' | '.join(words)}")
        if self.file_voi:
            lines.append("  the file's own VOI comes first, where it has one")
        lines.append(f"  then (y - mean) / std, mean {_numbers(self.mean)}, std {_numbers(self.std)}")
        return "\n".join(lines)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in (values[:1] if len(set(values)) == 1 else values))


def default_recipe(channels: int = 3, mean: Sequence[float] = (MEAN,), std: Sequence[float] = (STD,)) -> Recipe:
    """CT in HU: lung, soft tissue and bone as channels (one channel: "broad"); PT and NM: 0 to the series' p99.5;
    display values: their type's range; all others: the series' p0.5 to p99.5 in every channel."""
    if channels not in (1, 3):
        raise UsageError(f"channels={channels} cannot be used: choose 3 or 1")
    names = ("lung", "soft_tissue", "bone") if channels == 3 else ("broad",)
    windows = {
        CT: tuple(Window(FIXED, *PRESETS[name]) for name in names),
        "MR": (Window(PERCENTILES),) * channels,
        "PT": (Window(FROM_ZERO),) * channels,
        "NM": (Window(FROM_ZERO),) * channels,
        DISPLAY_ROW: (Window(DISPLAY),) * channels,
        OTHER: (Window(PERCENTILES),) * channels,
    }
    return Recipe("default", windows, False, tuple(mean), tuple(std))


def make_recipe(
    window: str | tuple[float, float] | Recipe | None = None,
    channels: int = 3,
    mean: float | Sequence[float] = MEAN,
    std: float | Sequence[float] = STD,
) -> Recipe:
    """The recipe that a user's `window` argument means.

    Args:
        window: None: the default; a preset's name: that window for CT in HU, the default for all others; (centre, width) in
            modality units: for every sample; "file": the file's own VOI, the default where there is none; or a Recipe.
        channels, mean, std: of the result; a Recipe brings its own.

    Raises:
        UsageError: unknown name, or numbers that are no window.
    """
    if isinstance(window, Recipe):
        return window
    means, stds = ((float(v),) if isinstance(v, int | float) else tuple(v) for v in (mean, std))
    base = default_recipe(channels, means, stds)
    if window is None:
        return base
    if isinstance(window, str):
        if window == "file":
            return Recipe("file", base.windows, True, means, stds)
        if window not in PRESETS:
            known = ", ".join(PRESETS)
            raise UsageError(f'there is no window {window!r}: choose one of {known}, or "file", or (centre, width)')
        row = (Window(FIXED, *PRESETS[window]),) * channels
        return Recipe(window, {**base.windows, CT: row}, False, means, stds)
    try:
        centre, width = (float(v) for v in window)
    except (TypeError, ValueError):
        raise UsageError(
            f'window={window!r} cannot be used: give a preset\'s name, "file", (centre, width) or a Recipe'
        ) from None
    return Recipe(f"{centre:g}/{width:g}", {OTHER: (Window(FIXED, centre, width),) * channels}, False, means, stds)


def read_window(text: str | None) -> str | tuple[float, float] | None:
    """A `--window` of a command line as `make_recipe` takes it: None, a name, or (centre, width) from "CENTRE,WIDTH".

    Raises:
        UsageError: a comma, and not two numbers.
    """
    if text is None or "," not in text:
        return text
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--window {text!r} cannot be read: give CENTRE,WIDTH as two numbers, as in --window=-600,1500"
        ) from None
    return centre, width
