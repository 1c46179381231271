"""What a check found: one line each. Samples are named by key, never by a source or a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from radload.dataset.schema import key_text

INDEX: Final = "index"  # stands for a shard's name where the whole data set is meant
RESTORE_SHARD: Final = "restore the shard from a copy, or run radload verify --repair drop (or repack)"
RESTORE_INDEX: Final = "restore the folder index and manifest.json from a copy, or pack again"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        shard: "train/000000.tar", or INDEX, "labels/NAME.arrow", "manifest.json"; key: of the sample, None where it is no sample's.
        what: the finding; remedy: what to do.
    """

    shard: str
    key: int | None
    what: str
    remedy: str = RESTORE_SHARD

    def __str__(self) -> str:
        where = self.shard if self.key is None else f"{self.shard} {key_text(self.key)}"
        return f"{where}: {self.what}: {self.remedy}"
