"""`radload forget`: patients who withdrew. The next version is without them; the versions that hold them are marked, and not opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radload.dataset.files import disk_failures_are_said
from radload.dataset.generation import write_generation
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import generations, no_folder, read_manifest, write_manifest
from radload.dataset.parts import index_parts
from radload.dataset.schema import PATIENTS, STUDIES, key_text
from radload.errors import UsageError
from radload.export.record import exports_of
from radload.pack.crosswalk import read_rows
from radload.pack.forgotten import read_forgotten, read_gone_caches, write_forgotten
from radload.pack.patients import known_patient
from radload.pack.privacy import pseudonym
from radload.pack.private import check_private, default_private
from radload.pack.sweep import remove_temporaries
from radload.pack.table import normal_id
from radload.pack.workspace import CROSSWALK, SPLITS_FILE, lock_folder, read_key


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` did.

    Attributes:
        patients: who are left out from now on, those of earlier calls included; samples: that this call took out of the data set.
        version: the current one now; held: versions that hold them, none of which is opened any more.
        copies: samples of other patients whose pixels are those of a sample that was taken out.
        exports: where images of theirs were exported to.
    """

    patients: int
    samples: int
    version: int
    held: tuple[int, ...]
    copies: int = 0
    exports: tuple[str, ...] = ()


@contextmanager
def locked(root: Path, what: str) -> Iterator[None]:
    """Be the one who writes to the data set in `root`.

    Args:
        what: is done, in a word, for the message where the disk fails.

    Raises:
        UsageError: another is. RadloadError: the disk refuses something.
    """
    if not root.is_dir():
        raise no_folder(root)
    lock = lock_folder(root)
    try:
        with disk_failures_are_said(what):
            yield
    finally:
        os.close(lock)


def forget(shards: Path, patient_file: Path, private: Path | None = None) -> Forgotten:
    """Leave patients out of the data set in `shards`, and of every later pack into it.

    The list of who is left out is written first: whatever ends this call, the next one goes on with it.

    Args:
        patient_file: one patient a line: the number as the source has it, or the pseudonym. A number that several hospitals gave
            to somebody means all of them.
        private: private folder, None: `<shards>.private`.

    Raises:
        UsageError: no data set, no private folder of it, or a line that names nobody.
        FormatError: a damaged index.
    """
    root = shards.resolve()
    lines = _lines(patient_file)
    with locked(root, "forgetting"):
        manifest = read_manifest(root)
        folder = (private or default_private(root)).resolve()
        check_private(root, folder)
        remove_temporaries(root, folder)
        before = read_forgotten(folder)
        everybody = before | _find(lines, patient_file, folder, before)
        index = open_index(root, manifest)
        gone = _patients_in(index, everybody)
        of_row = gone[index.series["patient"]][index.records["series"]]
        if len(of_row) and of_row.all():
            raise UsageError(
                f"{patient_file} names all patients of {shards}: remove the data set and its private folder instead"
            )
        exports = tuple(exports_of(folder, everybody))
        write_forgotten(folder, everybody, read_gone_caches(folder))
        if not gone.any():
            return Forgotten(len(everybody), 0, manifest.generation, tuple(manifest.withdrawn), 0, exports)
        held = [one for one in generations(root, manifest) if _holds(root, one, everybody)]
        patients, studies = without_names(index, gone)
        samples = index.table("samples").schema
        new = write_generation(root, manifest, index, index_parts(index, ~of_row), patients, studies, samples)
        files = _files_of(folder, index.records["key"][of_row])
        source = {**manifest.source, "packed": max(0, manifest.source.get("packed", 0) - files)}
        new = replace(new, withdrawn=sorted({*manifest.withdrawn, *held}), source=source)
        write_manifest(root, new)
        return Forgotten(
            len(everybody), int(of_row.sum()), new.generation, tuple(new.withdrawn), _copies(index, of_row), exports
        )


def without_names(index: Index, gone: NDArray[np.bool_]) -> tuple[pa.Table, pa.Table]:
    """patients.arrow and studies.arrow where the rows of `gone` patients say nothing. The rows stay: KEY.json of others counts them."""
    patients, studies = index.table("patients"), index.table("studies")
    of_study = gone[studies.column("patient").to_numpy()]
    known = pc.and_(patients.column("known"), pc.invert(pa.array(gone)))
    return (
        pa.Table.from_arrays([_hide(patients, gone), patients.column("split"), known], schema=PATIENTS),
        pa.Table.from_arrays([_hide(studies, of_study), studies.column("patient")], schema=STUDIES),
    )


def _hide(table: pa.Table, gone: NDArray[np.bool_]) -> pa.Array:
    """The pseudonyms, null for who is gone: built anew, because Arrow's own functions leave the text behind a null in its buffer."""
    names = table.column("pseudonym").to_pylist()
    return pa.array([None if out else name for name, out in zip(names, gone.tolist(), strict=True)], pa.string())


def _lines(path: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines that say something."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(
            f"--patient-file {path} cannot be read ({reason}): give a text file, one patient a line"
        ) from None
    found = [(number, normal_id(line)) for number, line in enumerate(text.splitlines(), 1) if normal_id(line)]
    if not found:
        raise UsageError(f"--patient-file {path} is empty: write one patient a line, by number or pseudonym")
    return found


def _find(lines: Sequence[tuple[int, str]], path: Path, private: Path, before: frozenset[str]) -> set[str]:
    """Pseudonyms of those whom the lines mean. Messages give a line's number, never what it says."""
    try:
        table = pq.read_table(private / SPLITS_FILE, columns=["patient", "name"])
    except (OSError, pa.ArrowInvalid, KeyError):
        raise UsageError(
            f"{private / SPLITS_FILE} cannot be read, and it names the patients: restore it from a copy"
        ) from None
    names = list(zip(table.column("patient").to_pylist(), table.column("name").to_pylist(), strict=True))
    by_text: dict[str, set[str]] = {}
    for name, number in names:
        by_text.setdefault(name, set()).add(name)
        if number is not None:
            by_text.setdefault(number, set()).add(name)
    key = read_key(private)
    found: set[str] = set()
    nobody = []
    for number, text in lines:
        known = by_text.get(text, set()) | ({text} & before)
        known |= {pseudonym(key, "patient", known_patient(text).identity)} & before  # forgotten, and compacted since
        found |= known
        if not known:
            nobody.append(str(number))
    if nobody:
        more = f" and {len(nobody) - 5} more" if len(nobody) > 5 else ""
        raise UsageError(
            f"--patient-file {path}, line {', '.join(nobody[:5])}{more}: names no patient of this data set; write the number as the source "
            "has it, or the pseudonym (nothing was changed)"
        )
    return found


def _patients_in(index: Index, names: frozenset[str]) -> NDArray[np.bool_]:
    """(rows of patients.arrow,) whether they are among `names`."""
    column = index.table("patients").column("pseudonym")
    found = pc.is_in(column, value_set=pa.array(sorted(names), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)


def _holds(root: Path, generation: int, names: frozenset[str]) -> bool:
    manifest = read_manifest(root, generation)
    return bool(_patients_in(open_index(root, manifest), names).any())


def _files_of(private: Path, keys: NDArray[np.uint64]) -> int:
    """Input files of these samples."""
    table = read_rows(private / CROSSWALK)
    texts = pa.array([key_text(key) for key in keys.tolist()], pa.string())
    return int(pc.count_distinct(table.filter(pc.is_in(table.column("key"), value_set=texts)).column("source")).as_py())


def _copies(index: Index, gone: NDArray[np.bool_]) -> int:
    """Samples that stay and have the pixels of one that goes."""
    hashes = index.table("samples").column("pixel_hash")
    taken = hashes.filter(pa.array(gone))
    same = pc.is_in(hashes, value_set=pc.unique(pc.drop_null(taken)))
    return int(np.count_nonzero(np.asarray(same.to_numpy(zero_copy_only=False), np.bool_) & ~gone))
