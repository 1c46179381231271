"""What `radload review SHARDS --src DIR` does: pages about the quarantined files, in the private folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from radload.dataset.files import atomic_file
from radload.errors import UsageError
from radload.pack.decisions import ASK, DECISIONS, Decision, read_decisions, read_entries, write_template
from radload.pack.executor import Limits
from radload.pack.groups import Group
from radload.pack.options import PackOptions, check_timeout
from radload.pack.workspace import REJECTS, REVIEW, check_folders
from radload.review.find import find_groups
from radload.review.page import Section, facts, names, page
from radload.review.pictures import ContactRow, contact_sheet, row_of, thumbnail, with_rulers
from radload.review.project import project_groups
from radload.sources import Header

PAGE: Final = "index.html"
CONTACT: Final = "contact.png"
_MOST: Final = 40  # groups on the contact sheet


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What was written, largest group first; folder: where."""

    folder: Path
    sections: tuple[Section, ...]


def review(
    shards: Path,
    source: Path,
    private: Path | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
) -> Reviewed:
    """Write PRIVATE/review: index.html, contact.png, pictures of each group, and decisions.toml to fill in.

    An earlier decisions.toml keeps what it decides and gains the groups that it does not have. Nothing is written under `shards`, which
    need not exist: a folder all of whose files are in quarantine packs into nothing.

    Args:
        shards: what `radload pack --out` had; source: what --src had; private: None: `<shards>.private`.
        workers: processes; None: all cores; 0: this process.
        timeout: seconds after which a file that yields nothing more is passed over; a folder that does not answer ends the review.

    Raises:
        RadloadError: that came to pass.
        UsageError: folders that cannot be used, nothing in quarantine, or an earlier decisions.toml that cannot be read.
    """
    limits = Limits(check_timeout(timeout))
    folders = check_folders(PackOptions(source, shards, private, timeout=timeout))
    if workers is not None and workers < 0:
        raise UsageError(f"--workers {workers} is no number of processes: give 1 or more, or leave it out")
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    folder = folders.private / REVIEW
    path = folder / DECISIONS
    entries = read_entries(path) if path.exists() else {}
    before = read_decisions(path) if path.exists() else {}
    groups = find_groups(folders.source, folders.private / REJECTS, workers, limits)
    if not groups:
        raise UsageError(
            f"nothing of --src {source} is in quarantine: there is nothing to decide; pack it, or give the folder that was packed"
        )
    with _writable(folders.private):
        sections = _write_all(folders.source, groups, folder, before, entries, workers, limits)
    return Reviewed(folder, tuple(sections))


def _write_all(
    source: Path,
    groups: Mapping[Group, Sequence[Header]],
    folder: Path,
    before: Mapping[str, Decision],
    entries: Mapping[str, Mapping[str, Any]],
    workers: int,
    limits: Limits,
) -> list[Section]:
    for one in (folder.parent, folder):
        one.mkdir(0o700, parents=True, exist_ok=True)
        one.chmod(0o700)  # whatever the umask, or whoever made it
    for stale in folder.glob("*.png"):  # of groups that are no longer in quarantine
        stale.unlink()
    sections: list[Section] = []
    rows: list[ContactRow] = []
    projections = project_groups(source, list(groups.values()), workers, limits)
    for (group, headers), projection in zip(groups.items(), projections, strict=True):
        decision = before[group.name].decision if group.name in before else ASK
        sections.append(Section(group, len(headers), projection.frames, projection.unreadable, decision))
        maximum, minimum, mean, examples = names(group)
        _save(folder / maximum, with_rulers(projection.maximum, group.region))
        _save(folder / minimum, with_rulers(projection.minimum, group.region))
        _save(folder / mean, with_rulers(projection.mean, group.region))
        _save(folder / examples, row_of([thumbnail(one) for one in projection.examples]))
        if len(rows) < _MOST:
            pictures = (projection.maximum, projection.minimum, projection.mean, *projection.examples)
            rows.append((group.name, facts(sections[-1]), [thumbnail(one) for one in pictures]))
    _save(folder / CONTACT, contact_sheet(rows))
    _write(folder / PAGE, page(sections))
    _write(folder / DECISIONS, write_template([(one.group, one.files, one.frames) for one in sections], entries))
    return sections


@contextmanager
def _writable(private: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"--private {private} cannot be written ({error.strerror}): give a folder where you may write"
        ) from None


def _save(path: Path, image: Image.Image) -> None:
    with atomic_file(path, 0o600) as file:
        image.save(file, "PNG")


def _write(path: Path, text: str) -> None:
    with atomic_file(path, 0o600) as file:
        file.write(text.encode())
