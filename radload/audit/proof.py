"""`audit(shards)`: what one data set's index proves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from radload.audit.faces import find_faces
from radload.audit.identity import identity_checks, index_check
from radload.audit.pixels import PixelChecks, pixel_checks
from radload.audit.report import Audit, Balance, many
from radload.audit.rows import Rows, open_rows
from radload.dataset.labels import LabelSet
from radload.dataset.schema import SPLITS
from radload.pack.private import find_private


def audit(root: Path, private: Path | None = None) -> Audit:
    """Prove that nothing leaks between the splits of the data set in `root`, or list what does.

    Memory: some 250 bytes per sample, mapped pages included. Shards are opened only to tell nearly empty images among identical ones.

    Args:
        private: private folder, read for study and series UIDs; None: `<root>.private` where it is there.

    Raises:
        UsageError: no data set, or a private folder that is not its own.
        FormatError: another format version, or a damaged index or label set.
    """
    private = find_private(root, private)
    rows = open_rows(root)
    with rows.dataset:
        pixels = pixel_checks(rows)
        checks = [index_check(rows), *identity_checks(rows, private), *pixels.checks]
        return Audit(
            checks,
            identities(rows),
            [row for labels in rows.labels for row in _balance(rows, labels)],
            find_faces(rows),
            _notes(rows, pixels),
            {
                "generation": rows.dataset.manifest.generation,
                "fingerprint": rows.dataset.manifest.fingerprint,
                "samples": len(rows),
                "patients": len(rows.patients()),
                "unknown_patients": unknown_patients(rows),
                "patient_rule": rows.dataset.manifest.patient_rule,
                "private_folder": private is not None,
                "identical_images": {"groups": pixels.groups, "samples": pixels.samples, "set_aside": pixels.set_aside},
            },
        )


def unknown_patients(rows: Rows) -> int:
    """Patients with samples who stand for a study or a file, because the source does not say whose it is."""
    return int((~rows.known()[rows.patients()]).sum())


def identities(rows: Rows) -> str:
    """What claims about patients rest on, in words."""
    rule = rows.dataset.manifest.patient_rule or "a rule that the manifest does not state"
    return f"patients by {rule}, {unknown_patients(rows):,} of {len(rows.patients()):,} unknown"


def _balance(rows: Rows, labels: LabelSet) -> list[Balance]:
    counts = np.stack([labels.counts(rows.index.ranges[name]) for name in SPLITS])
    found = []
    for code, name in enumerate(labels.classes):
        mine = labels.codes[:, code] == 1 if labels.task == "multi" else labels.codes == code
        samples = tuple(int(count) for count in counts[:, code])
        found.append(Balance(labels.name, name, samples, len(np.unique(rows.patient[mine]))))
    return found


def _notes(rows: Rows, pixels: PixelChecks) -> list[str]:
    notes = []
    if pixels.set_aside:
        notes.append(f"set aside: {many(pixels.set_aside, 'group')} of identical images, constant or nearly empty")
    if pixels.unreadable:
        notes.append(
            f"not readable (shards missing or damaged): {many(pixels.unreadable, 'image')}, taken as not empty"
        )
    if pixels.unhashed:
        notes.append(f"without a pixel hash: {many(pixels.unhashed, 'sample')}; nothing is proven about their images")
    for labels in rows.labels:
        used = [name for name in SPLITS if len(rows.index.ranges[name])]
        counts = np.stack([labels.counts(rows.index.ranges[name]) for name in used]) if used else np.zeros((0, 0))
        for code, name in enumerate(labels.classes):
            absent = [split for split, count in zip(used, counts[:, code].tolist(), strict=True) if not count]
            if absent:
                notes.append(f"class {name!r} of label set {labels.name} has no sample in {' and '.join(absent)}")
    return notes
