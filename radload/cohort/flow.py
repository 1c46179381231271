"""From files to patients: what was left out at every step and why, as the figures of STARD 2015 and CONSORT 2010 show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from radload.cohort.counts import Counts, patients_text
from radload.dataset import Dataset
from radload.errors import UsageError
from radload.pack.codes import PACK_CODES
from radload.pack.eligible import KINDS
from radload.pack.private import find_private
from radload.pack.workspace import CROSSWALK, REJECTS
from radload.sources.codes import CODES

NOT_RECORDED = "reason not recorded"
MEANINGS = (
    CODES
    | PACK_CODES
    | {kind: meaning for kind, (meaning, _) in KINDS.items()}
    | {NOT_RECORDED: "The private folder, which has the reasons, was not there or says less."}
)


@dataclass(frozen=True, slots=True)
class Flow:
    """Numbers of files unless said otherwise; `files` = `ignored` + the sum of `excluded` + `packed`.

    Attributes:
        files: found; ignored: no image; excluded: reject code -> files, most frequent first; packed: at least one frame of them.
        frames: reject code -> frames left out of packed files; None where the private folder is not there.
        without_image: patients who were seen, none of whose images could be packed, as a text.
        counts: what was packed, by split.
    """

    files: int
    ignored: int
    excluded: dict[str, int]
    packed: int
    frames: dict[str, int] | None
    without_image: str
    counts: Counts

    @property
    def rejected(self) -> int:
        return sum(self.excluded.values())


def make_flow(dataset: Dataset, private: Path | None, counts: Counts, exact: bool) -> tuple[Flow, list[str]]:
    """Read the manifest, and reasons from the private folder; returns sentences that the reader should know too.

    Args:
        private: None: `<root>.private` where it is there and can be read.
        exact: show small numbers of patients.

    Raises:
        UsageError: the private folder given is not there, or of other shards.
    """
    source = dict(dataset.manifest.source)
    files, packed, ignored = sum(source.values()), source.pop("packed", 0), source.pop("ignored", 0)
    rejected = sum(source.values())
    folder, notes = find_private(dataset.root, private), []
    reasons: dict[str, int] = {}
    frames = None
    if folder is not None:
        reasons, frames = _reasons(folder)
    elif rejected:
        notes.append("Reasons for exclusion are not shown: the private folder was not there.")
    if sum(reasons.values()) > rejected:
        notes.append(
            "Reasons for exclusion are not shown: the private folder lists more files than the manifest counts."
        )
        reasons = {}
    if left := rejected - sum(reasons.values()):
        kinds = {NOT_RECORDED if name == "rejected" else name: count for name, count in source.items() if count}
        reasons = kinds if not reasons else reasons | {NOT_RECORDED: left}
    names = dataset.index.table("patients").column("pseudonym")  # null: withdrew
    seen, known = len(names) - names.null_count, len(set(dataset.index.series["patient"].tolist()))
    excluded = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    without = patients_text(seen - known, exact)
    return Flow(files, ignored, excluded, packed, frames, without, counts), notes


def _reasons(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """(files by code, frames of packed files by code). A file is packed where a frame of it is; else its first code counts."""
    try:
        rejects = pq.read_table(folder / REJECTS, columns=["source", "code"]).to_pydict()
        names = [name for name in pq.read_schema(folder / CROSSWALK).names if name.endswith("source")]  # images, masks
        used = pq.read_table(folder / CROSSWALK, columns=names)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{folder} cannot be read ({type(error).__name__}): restore it from a copy") from None
    packed = {source for column in used.columns for source in column.unique().to_pylist()}
    files: dict[str, str] = {}
    frames: Counter[str] = Counter()
    for source, code in zip(rejects["source"], rejects["code"], strict=True):
        if source in packed:
            frames[code] += 1
        else:
            files.setdefault(source, code)
    return dict(Counter(files.values())), dict(frames.most_common())


def flow_rows(flow: Flow) -> Sequence[tuple[str, str, str]]:
    """(step, reason, number) from top to bottom; numbers of few patients are hidden as in Table 1."""
    rows = [("files found", "", f"{flow.files:,}"), ("excluded files", "no image", f"{flow.ignored:,}")]
    rows += [("excluded files", code, f"{count:,}") for code, count in flow.excluded.items()]
    rows.append(("files packed", "", f"{flow.packed:,}"))
    rows += [("excluded frames of packed files", code, f"{count:,}") for code, count in (flow.frames or {}).items()]
    rows.append(("patients without a packed image", "", flow.without_image))
    packed = [(name, flow.counts[-1].text(name)) for name in ("samples", "series", "studies", "patients")]
    return [*rows, *((f"{name} packed", "", number) for name, number in packed if number)]
