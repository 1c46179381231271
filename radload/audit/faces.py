"""Series from which a face may be rebuilt: thin, long CT or MR of the head. A heuristic: headers say body parts as they like.

A surface rendered from a head CT or MR can be matched with photographs (Schwarz et al., N Engl J Med 2019;381:1684): 1.5 mm and 50
slices cover the usual volumes and leave out thick routine stacks, which show a face less well, not never.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.audit.report import Faces
from radload.audit.rows import Rows

MAX_SPACING: Final = 1.5  # millimetres between slices
MIN_SLICES: Final = 50
HEAD_PARTS: Final = (
    "HEAD", "BRAIN", "SKULL", "FACE", "FACIAL", "CRANI", "CEREB", "CALVARI", "SINUS", "ORBIT", "EYE", "NOSE", "NASAL",
    "MAXILL", "MANDIB", "JAW", "DENTAL", "TMJ", "EAR", "TEMPORAL", "PITUIT", "SELLA", "WHOLEBODY", "WHOLE BODY",
)  # fmt: skip
_EXACT: Final = frozenset(("EAR", "EYE", "JAW", "TMJ"))  # also parts of other words: HEART holds EAR


def find_faces(rows: Rows) -> Faces:
    """Look through the series; nothing is decoded."""
    table, series = rows.index.table("series"), rows.index.series
    spacing = np.asarray(table.column("slice_spacing").to_numpy(), np.float64)
    modality = _upper(table.column("modality").to_pylist())
    part = _upper(table.column("body_part").to_pylist())
    long = np.asarray(series["count"]) >= MIN_SLICES
    thin = spacing <= MAX_SPACING  # NaN: False
    imaging = _where(modality, lambda text: text in ("CT", "MR"))
    other = _where(modality, lambda text: text not in ("CT", "MR", ""))
    head, nameless = _where(part, is_head), _where(part, lambda text: text == "")
    return Faces(
        [_entry(rows, int(one)) for one in np.flatnonzero(long & thin & imaging & head)],
        int((long & thin & ~other & ((nameless & ~head) | (head & ~imaging))).sum()),
        int((long & np.isnan(spacing) & ~other & head).sum()),
    )


def is_head(body_part: str) -> bool:
    """Whether a body part, in capitals, shows a face or may do so."""
    words = body_part.replace("_", " ").split()
    return any(name in words if name in _EXACT else name in body_part for name in HEAD_PARTS)


def _entry(rows: Rows, series: int) -> dict[str, Any]:
    record = rows.index.series[series]
    row = rows.index.table("series").slice(series, 1).to_pylist()[0]
    return {
        "series": series,
        "key": rows.keys(np.array([int(record["first_row"])]))[0],
        "modality": row["modality"],
        "body_part": row["body_part"],
        "slices": int(record["count"]),
        "slice_spacing": round(float(row["slice_spacing"]), 3),
    }


def _upper(texts: list[str | None]) -> list[str]:
    return [(text or "").strip().upper() for text in texts]


def _where(texts: list[str], rule: Any) -> NDArray[np.bool_]:
    known: dict[str, bool] = {text: bool(rule(text)) for text in set(texts)}
    return np.fromiter((known[text] for text in texts), np.bool_, len(texts))
