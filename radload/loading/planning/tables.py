"""Look-up tables of a file as tables over coded values, the only form that the kernels know.

A modality LUT (PS3.3 C.11.1.1) with the window after it, a VOI LUT (C.11.2.1.1), or both become one table: entry i is y in
[0, 1] of coded value `first` + i; values outside map to the first or last entry, as the standard says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.schema import STORED_DTYPES, Codec, Flag
from radload.kernels.prepare import Voi
from radload.kernels.reference import voi

MAX_ENTRIES = 1 << 17  # a VOI LUT over a rescale of tiny slope could ask for any number


@dataclass(frozen=True, slots=True)
class Table:
    """Entries in [0, 1], float32, of coded values `first`, `first` + 1, …"""

    first: int
    values: NDArray[np.float32]


class Tables:
    """Tables of a data set's samples, the last few hundred kept."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lut = lru_cache(maxsize=256)(self._read_lut)
        self._built = lru_cache(maxsize=256)(self._build)

    def table(self, row: int, record: np.void, function: int, centre: float, width: float) -> Table | None:
        """The table of a sample that has look-up tables, or None where a formula does (a VOI LUT that is not asked for).

        Args:
            row: of the index; record: its RECORD.
            function, centre, width: the window wanted after the modality step; Voi.TABLE for the file's VOI LUT.
        """
        flags = int(record["flags"])
        modality = self._reference("modality_lut", row) if flags & Flag.MODALITY_LUT else None
        own = self._reference("voi_lut", row) if function == Voi.TABLE and flags & Flag.VOI_LUT else None
        if modality is None and own is None:
            return None
        if own is None and function == Voi.TABLE:
            function = int(Voi.LINEAR_EXACT)
        code = STORED_DTYPES[int(record["dtype"])]
        wide = code.endswith(("4", "8")) and record["codec"] == Codec.RAW
        if modality is None and (wide or code.startswith("f")):  # a table has one entry per integer
            return None
        bias = int(record["bias"])
        if modality is not None:
            return self._built(modality, own, function, centre, width, 1.0, 0.0, bias)
        return self._built(None, own, function, 0.0, 1.0, float(record["slope"]), float(record["intercept"]), bias)

    def _reference(self, column: str, row: int) -> int | None:
        value: int | None = self._index.table("samples").column(column)[row].as_py()
        return value

    def _read_lut(self, row: int) -> tuple[int, NDArray[np.float64], float]:
        """(first value mapped, entries, full scale)."""
        entry = self._index.table("luts").slice(row, 1).to_pylist()[0]
        values = np.asarray(entry["values"], np.float64)
        return int(entry["first"]), values, full_scale(entry["bits"], float(values.max()))

    def _build(
        self,
        modality: int | None,
        own: int | None,
        function: int,
        centre: float,
        width: float,
        slope: float,
        intercept: float,
        bias: int,
    ) -> Table | None:
        if modality is not None:
            first, value, _ = self._lut(modality)
        else:
            span = self._span(own, slope, intercept)
            if span is None:
                return None
            first = span[0]
            value = np.asarray(np.arange(span[0], span[1] + 1) * slope + intercept, np.float64)
        if own is not None:
            own_first, entries, top = self._lut(own)
            index = np.clip(np.rint(value) - own_first, 0, len(entries) - 1).astype(np.int64)
            y = entries[index] / top
        else:
            y = voi(value, Voi(function), centre, width)
        return Table(first + bias, np.clip(y, 0.0, 1.0).astype(np.float32))

    def _span(self, own: int | None, slope: float, intercept: float) -> tuple[int, int] | None:
        """Stored values whose modality values a VOI LUT covers, one more on each side; None where that is no useful range."""
        if own is None or slope == 0:
            return None
        first, entries, _ = self._lut(own)
        ends = sorted(((first - intercept) / slope, (first + len(entries) - 1 - intercept) / slope))
        if not np.isfinite(ends).all() or ends[1] - ends[0] > MAX_ENTRIES or max(map(abs, ends)) > 2**30:
            return None
        return int(np.floor(ends[0])) - 1, int(np.ceil(ends[1])) + 1


def full_scale(bits: int | None, maximum: float) -> float:
    """2**bits - 1 of a VOI LUT's descriptor (PS3.3 C.11.2.1.1); where it says nothing, of the first of 8 to 16 bits that hold `maximum`."""
    if bits is None:
        bits = next((b for b in range(8, 16) if maximum <= 2**b - 1), 16)
    return float(max(2**bits - 1, maximum))
