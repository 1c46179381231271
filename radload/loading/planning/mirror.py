"""Where a picture may be mirrored left to right without telling an untruth: flip="auto" of an augmentation.

A mirrored right knee is a left knee, a mirrored chest has its heart on the right, and a mirrored radiograph shows its "R" or "L"
backwards. The loader cannot know what the labels say, so it mirrors only what it knows to be safe: slices (CT, MR, PT) of a part of the
body that looks alike from both sides or exists twice, of which nothing says which side it is.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.index import Index

SLICES = ("CT", "MR", "PT")  # a plane of the body; projections show the heart's side and have markers burned in

# PS3.16 Annex L. Left out are the trunk (heart, liver, aorta), the breast (heart behind it), and parts that lie on one side.
SYMMETRIC = frozenset(
    """ACJOINT ANKLE ARM AXILLA BRAIN BUTTOCK CALCANEUS CALF CEREBELLUM CHEEK CIRCLEOFWILLIS CLAVICLE COCCYX CORNEA CSPINE EAR ELBOW
    EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT FOREARM FOREFOOT HAND HEAD HEADNECK HINDFOOT HIP HUMERUS IAC ILIUM JAW KNEE LARYNX LEG
    LOWERLEG LOWERLIMB MANDIBLE MAXILLA MOUTH NECK NOSE ORBIT PAROTID PATELLA PELVIS PENIS PHARYNX PITUITARY PROSTATE SCALP SCLERA
    SCROTUM SELLATURCICA SHOULDER SIJOINT SINUS SKULL SSPINE SUBMANDIBULAR TESTIS THIGH THUMB TIBIAFIBULA TMJ TOE TONGUE UPPERARM
    UPPERLIMB VAGINA VULVA WRIST ZYGOMA""".split()  # noqa: SIM905
)
_SIDES = ("L", "R")  # of laterality; U is unpaired and B is both sides, which are mirrored like a head
_UNKNOWN, _NO, _YES = 0, 1, 2


class Mirrors:
    """Which series of a data set may be mirrored. Looked up once per series, when it is first met. Safe to share between threads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._found = np.zeros(len(index.series), np.uint8)  # pages that no series is met on take no memory
        self._slices = np.array([m in SLICES for m in index.modalities], np.bool_)
        self._texts: dict[str, tuple[NDArray[np.int64], list[pa.Array]]] = {}

    def allowed(self, series: NDArray[np.integer]) -> NDArray[np.bool_]:
        """(n,) whether samples of `series` (n,), rows of series.arrow, may be mirrored."""
        found = self._found[series]
        if not found.all():
            for one in np.unique(series[found == _UNKNOWN]).tolist():
                self._found[one] = _YES if self._look(one) else _NO
            found = self._found[series]
        return np.asarray(found == _YES)

    def _look(self, one: int) -> bool:
        record = self._index.series[one]
        if not self._slices[record["modality"]] or self._text("series", "body_part", one, 1)[0] not in SYMMETRIC:
            return False
        first, count = int(record["first_row"]), int(record["count"])
        sides = self._text("samples", "laterality", first, count)
        views = set(self._text("samples", "view", first, count))
        return not any(side in sides for side in _SIDES) and views <= {None, ""}

    def _text(self, table: str, name: str, first: int, count: int) -> list[str | None]:
        """Different values of a column in count rows from `first`."""
        if name not in self._texts:
            chunks = self._index.table(table).column(name).chunks
            self._texts[name] = np.cumsum([0, *map(len, chunks)]), chunks
        starts, chunks = self._texts[name]
        values: set[str | None] = set()
        at = int(np.searchsorted(starts, first, "right")) - 1
        while count > 0:
            part = chunks[at].slice(first - int(starts[at]), count)
            values.update(part.unique().to_pylist())
            first, count, at = first + len(part), count - len(part), at + 1
        return list(values)
