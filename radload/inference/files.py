"""Which images are meant: files and folders that the user gives, to headers that a pack would have taken."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from radload.errors import UsageError
from radload.loading.preparation import Preparation
from radload.pack.burned_in import Action, decide
from radload.pack.codes import LOOKS_LIKE_MASK
from radload.pack.decisions import Decision, read_decisions
from radload.pack.eligible import KINDS, left_out
from radload.pack.groups import group_of
from radload.pack.masks import looks_like_mask
from radload.pack.quarantine import prepared
from radload.pack.redact import Redaction, inside
from radload.pack.scan import InputFile, Reject, ScanJob, scan_file
from radload.pack.walk import walk
from radload.pack.watched import Reading, unwatched
from radload.sources import Header, PartOf

_log = logging.getLogger("radload")


@dataclass(frozen=True, slots=True)
class Images:
    """Headers of the images, in the order in which they were given, and what is cut away of them.

    Attributes:
        root: folder that the headers' `source` is relative to.
        redactions: position of a header -> what is cut away or blanked.
        argument: of each header, which argument it came from; folder: of each argument, whether it is one.
    """

    root: Path
    headers: tuple[Header, ...]
    redactions: dict[int, Redaction]
    argument: tuple[int, ...]
    folder: tuple[bool, ...]


def find_images(
    given: Sequence[str | PathLike[str]],
    preparation: Preparation,
    include: AbstractSet[str] = frozenset(),
    decisions: str | PathLike[str] | None = None,
    reading: Reading = unwatched,
    timeout: float | None = None,
) -> Images:
    """Look at the headers of `given`, and apply the pack's rules to them. Quarantine is none of them: nothing leaves here.

    Args:
        include: kinds that a pack leaves out and that are wanted nevertheless; decisions: the decisions.toml of the pack.
        reading: told of each file; timeout: of the walk through a folder.

    Raises:
        UsageError: a file that is no image, or that a pack would leave out; no image at all.
    """
    if not given:
        raise UsageError("there is no file to prepare: give one or more files, or a folder")
    paths = [Path(os.path.abspath(path)) for path in given]  # noqa: PTH100 - links stay, as in a walk
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file {path}: give DICOM, NIfTI, PNG or JPEG files, or a folder of them")
    if len(set(paths)) < len(paths):
        twice = Counter(paths).most_common(1)[0][0]
        raise UsageError(f"{twice} is given twice: it would count twice in the statistics of its series")
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))
    files, argument = _walk(root, paths, timeout)
    headers: list[Header] = []
    places: list[int] = []
    passed: Counter[str] = Counter()
    strict = [not path.is_dir() for path in paths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values of the file
        outcomes = []
        for file in files:
            reading(str(root / file.source))
            outcomes.append(scan_file(ScanJob(root, (file,), preparation.axis), file.source))
        reading("")
    known = {outcome.source for outcome in outcomes if isinstance(outcome, Header)}
    for file, outcome, place in zip(files, outcomes, argument, strict=True):
        if isinstance(outcome, Header):
            headers.append(prepared(outcome))
            places.append(place)
            continue
        said = _why_not(outcome, known)
        if said is None:  # the .img of a pair whose .hdr is there
            continue
        if strict[place]:
            raise UsageError(f"{root / file.source} cannot be prepared: {said}")
        if outcome is not None:
            passed[said.partition(" (")[0]] += 1
    reasons = _left_out(headers, include)
    for position, said in reasons.items():
        if strict[places[position]]:
            raise UsageError(f"{root / headers[position].source} cannot be prepared: {said}")
        passed[said.partition(" (")[0]] += 1
    kept = [position for position in range(len(headers)) if position not in reasons]
    if passed:
        said = "; ".join(f"{text} ({count})" for text, count in passed.most_common())
        _log.warning("files were left out, as a pack leaves them out (%d): %s", sum(passed.values()), said)
    if not kept:
        raise UsageError(f"{paths[0]} holds no image that can be prepared: give DICOM, NIfTI, PNG or JPEG files")
    chosen = tuple(headers[position] for position in kept)
    redactions = _redactions(root, chosen, preparation, decisions)
    return Images(root, chosen, redactions, tuple(places[position] for position in kept), tuple(not s for s in strict))


def _walk(root: Path, paths: Sequence[Path], timeout: float | None) -> tuple[list[InputFile], list[int]]:
    """All files, and which of `paths` each came from; a file that an earlier folder holds comes once."""
    files: list[InputFile] = []
    argument: list[int] = []
    seen: set[str] = set()
    for place, path in enumerate(paths):
        if path.is_dir():
            base = path.relative_to(root).as_posix()
            found = [f"{base}/{file.source}" if base != "." else file.source for file in walk(path, timeout)]
        else:
            found = [path.relative_to(root).as_posix()]
        for source in found:
            if source not in seen:
                seen.add(source)
                files.append(InputFile(source, 0, 0))
                argument.append(place)
    return files, argument


def _why_not(outcome: Reject | PartOf | None, known: AbstractSet[str]) -> str | None:
    if isinstance(outcome, PartOf):
        if outcome.source in known:
            return None
        return f"it is the second half of a NIfTI pair (give {Path(outcome.source).name} instead)"
    if outcome is None:
        return "it is in no format that radload reads (give DICOM, NIfTI, PNG or JPEG)"
    return f"{outcome.reason} ({outcome.code})"


def _left_out(headers: Sequence[Header], include: AbstractSet[str]) -> dict[int, str]:
    """Position -> why a pack leaves that header out."""
    again = "give include= this kind to prepare it nevertheless"
    reasons = {at: f"{KINDS[kind][1]} ({kind}; {again})" for at, kind in left_out(headers, include).items()}
    for position, header in enumerate(headers):
        if header.segmentation is not None:
            reasons[position] = "it is a segmentation, no image (give the image that it lies on)"
        elif LOOKS_LIKE_MASK not in include and (why := looks_like_mask(header)) is not None:
            reasons[position] = f"{why.partition(':')[0]} ({LOOKS_LIKE_MASK}; {again})"
    return reasons


def _redactions(
    root: Path, headers: Sequence[Header], preparation: Preparation, given: str | PathLike[str] | None
) -> dict[int, Redaction]:
    """What the pack cut away or blanked in files like these."""
    decided = _decisions(preparation, given)
    found: dict[int, Redaction] = {}
    for position, header in enumerate(headers):
        action, redaction = decide(header, attested=True, crop_us_regions=preparation.us_regions_cropped)
        if action is Action.QUARANTINE and preparation.decisions is not None:
            if decided is None:
                raise UsageError(
                    f"{root / header.source} may be of a group of files that the pack cropped or blanked by its decisions: "
                    "give the same file by decisions="
                )
            redaction = decided.get(group_of(header).name, Decision()).redaction
        if redaction is None:
            continue
        if redaction.crop is not None and not inside(redaction.crop, header.rows, header.cols):
            raise UsageError(
                f"{root / header.source} has {header.rows} x {header.cols} pixels, and what is to be cut out does not lie in it: "
                "its header is wrong"
            )
        found[position] = redaction
    return found


def _decisions(preparation: Preparation, given: str | PathLike[str] | None) -> dict[str, Decision] | None:
    """Those of the pack, None where none are given."""
    if given is None:
        return None
    path = Path(given)
    decided = read_decisions(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != preparation.decisions:
        raise UsageError(
            f"decisions={path} is not the file that the data set was packed with (the last, where appends had others): give that one"
        )
    return decided
