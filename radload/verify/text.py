"""KEY.json against the index: every field of it stands there too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from radload.dataset.files import finite
from radload.dataset.schema import KEY_DIGITS, STORED_DTYPES, Codec, Flag, key_text
from radload.sources.slice import Units, VoiFunction, WindowExplanation

MAX_TEXT: Final = 64 << 20  # bytes of a KEY.json that are parsed: tables of 65,536 entries take some 1.3 MB each
_SAME: Final = (  # fields that are columns of samples.arrow under the same name
    "photometric", "window_centres", "window_widths", "bits_stored", "max_error", "lossy_ratios", "spacing_source", "image_position",
    "image_orientation", "laterality", "view", "suv_factor", "suv_missing", "position", "cropped", "masked",
)  # fmt: skip
_KEPT: Final = "kept_"
_CODECS: Final = {int(one): one.name.lower() for one in Codec}
_DTYPES: Final = {code: np.dtype(name).name for code, name in enumerate(STORED_DTYPES)}
_VOI: Final = {int(one): one.name for one in VoiFunction}
_UNITS: Final = {int(one): one.name for one in Units}
_EXACT, _LOSSY, _INVERT, _PADDING = (int(one) for one in (Flag.EXACT, Flag.LOSSY, Flag.INVERT, Flag.PADDING))


def differing(
    text: bytes,
    record: np.void,
    sample: Mapping[str, Any],
    series: Mapping[str, Any],
    of_series: np.void,
    luts: Luts,
    names: dict[int, Any],
) -> str | None:
    """What is wrong with a KEY.json: a clause that names fields and no value; None where all is right.

    Args:
        record: RECORD; sample: row of samples.arrow; series: row of series.arrow; of_series: SERIES_RECORD.
        names: row of series.arrow -> the field "series" of the first of its samples, which all others must have; added to.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: brackets upon brackets
        return "is no JSON"
    if not isinstance(found, dict):
        return "is no JSON object"
    expected = _expected(record, sample, series, of_series, luts)
    wrong = [name for name in expected if name not in found or found[name] != expected[name]]
    wrong += ["spacing"] if not _same_spacing(found.get("spacing", ()), record) else []
    name = names.setdefault(int(record["series"]), found.get("series"))
    wrong += ["series"] if not isinstance(name, str) or found.get("series") != name or len(name) != KEY_DIGITS else []
    wrong += [] if found.keys() <= expected.keys() | {"spacing", "series"} else ["a field that radload does not write"]
    return f"contradicts the index ({', '.join(wrong)})" if wrong else None


class Luts:
    """Rows of luts.arrow from `first` on, as KEY.json has them."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], first: int) -> None:
        self._rows, self._first = rows, first

    def row(self, number: int | None) -> dict[str, Any] | None:
        """The table `number`, None for none; {} for one that is not there."""
        if number is None:
            return None
        place = number - self._first
        table: dict[str, Any] = finite(dict(self._rows[place])) if 0 <= place < len(self._rows) else {}
        return table


def _expected(
    record: np.void, sample: Mapping[str, Any], series: Mapping[str, Any], of_series: np.void, luts: Luts
) -> dict[str, Any]:
    flags, levels = int(record["flags"]), int(record["levels"])
    padding = [int(record["padding_first"]), int(record["padding_last"])] if flags & _PADDING else None
    expected: dict[str, Any] = finite(
        {
            "version": 1,
            "key": key_text(int(record["key"])),
            "codec": _CODECS.get(int(record["codec"])),
            "dtype": _DTYPES.get(int(record["dtype"])),
            "rows": int(record["rows"]),
            "cols": int(record["cols"]),
            "channels": int(record["channels"]),
            "bias": int(record["bias"]),
            "slope": float(record["slope"]),
            "intercept": float(record["intercept"]),
            "modality_lut": luts.row(sample["modality_lut"]),
            "invert": bool(flags & _INVERT),
            "padding": padding,
            "voi": _VOI.get(int(record["voi"])),
            "window_explanations": [WindowExplanation(c).name for c in sample["window_explanations"] or ()],
            "voi_lut": luts.row(sample["voi_lut"]),
            "real_world": [{**one, "lut": luts.row(one["lut"])} for one in sample["real_world"] or ()],
            "exact": bool(flags & _EXACT),
            "lossy": bool(flags & _LOSSY),
            "levels": levels,
            "safe_levels": int(record["safe_levels"]),
            "level_end": record["level_end"][:levels].tolist(),
            "modality": series["modality"],
            "units": _UNITS.get(int(of_series["units"])),
            "body_part": series["body_part"],
            "patient": int(of_series["patient"]),
            "study": int(of_series["study"]),
            "kept": {name.removeprefix(_KEPT): value for name, value in sample.items() if name.startswith(_KEPT)},
            **{name: sample[name] for name in _SAME},
        }
    )
    return expected


def _same_spacing(found: Any, record: np.void) -> bool:
    """The record has it in 32 bits."""
    inside = (float(record["spacing_row"]), float(record["spacing_col"]))
    if found is None:
        return math.isnan(inside[0]) and math.isnan(inside[1])
    if not isinstance(found, list) or len(found) != len(inside):
        return False
    return all(
        isinstance(a, (int, float)) and math.isclose(a, b, rel_tol=1e-6) for a, b in zip(found, inside, strict=True)
    )
