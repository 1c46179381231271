"""`radload label`: a further label set for a data set that is packed already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radload.dataset.files import disk_failures_are_said
from radload.dataset.index import Index, open_index
from radload.dataset.labels import LabelSet, check_name, label_names, write_labels
from radload.dataset.manifest import read_manifest
from radload.dataset.schema import key_text
from radload.errors import UsageError
from radload.pack.crosswalk import read_crosswalk
from radload.pack.label_sets import Labels, check_classes, from_csv, from_folder, from_modality
from radload.pack.options import check_labels_from, check_uncertain
from radload.pack.table import Identity, key_column
from radload.pack.workspace import CROSSWALK


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """Options of `radload label`.

    Attributes:
        shards: the data set; private: its private folder, None: `<shards>.private`.
        labels: CSV, or labels_from: "modality", "folder:LEVEL"; one of the two; uncertain: what -1 means.
        name: of the new set; replace: a set of this name may be written over.
    """

    shards: Path
    labels: Path | None = None
    labels_from: str | None = None
    name: str = "default"
    private: Path | None = None
    uncertain: str = "ignore"
    replace: bool = False


def add_labels(options: LabelOptions) -> LabelSet:
    """Write labels/NAME.arrow.

    Raises:
        UsageError: no data set, no private folder where one is needed, a table that matches nothing, or a name that is taken.
        FormatError: another format version, or a damaged index.
    """
    if (options.labels is None) == (options.labels_from is None):
        raise UsageError("say where labels come from: --labels FILE.csv, or --labels-from modality or folder:LEVEL")
    check_uncertain(options.uncertain)
    if options.labels_from is not None:
        check_labels_from(options.labels_from)
    root = options.shards.resolve()
    index = open_index(root, read_manifest(root))
    if check_name(options.name) in label_names(index.label_root) and not options.replace:
        raise UsageError(
            f"{options.shards} has a label set {options.name!r} already: give another --name, or --replace"
        )
    labels = _labels(options, root, index).take(np.arange(len(index.records)), options.name)
    with disk_failures_are_said("labelling"):
        write_labels(index.label_root, labels, index.records["key"], index.ranges)
    return labels


def _labels(options: LabelOptions, root: Path, index: Index) -> Labels:
    """Labels of the samples, in order of the index. Keys and modality need no private folder."""
    if options.labels_from == "modality":
        names = index.table("series").column("modality").to_pylist()
        return from_modality([names[series] for series in index.records["series"].tolist()])
    if options.labels is not None and key_column(options.labels, "--labels") == "key":
        identities = [Identity(key=key_text(key)) for key in index.records["key"].tolist()]
        return from_csv(options.labels, identities, options.uncertain)
    private = options.private or root.with_name(f"{root.name}.private")
    identities, persons = read_crosswalk(private / CROSSWALK, index.records["key"])
    if options.labels is not None:
        labels = from_csv(options.labels, identities, options.uncertain)
    else:
        level = int((options.labels_from or "").partition(":")[2])
        labels = from_folder(level, [identity.path or "" for identity in identities])
    check_classes(labels, persons, options.labels)
    return labels
