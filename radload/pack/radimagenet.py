"""The RadImageNet tree as it is shipped: MODALITY/anatomy/pathology/*.png, and CSV files that give labels and splits.

Layout: github.com/BMEII-AI/RadImageNet; `RadiologyAI_{train,val,test}.csv` have the columns `filename,label`. No patients are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack.label_sets import Labels, from_texts
from radload.pack.table import read_table
from radload.sources import Header

_ROOT: Final = "radiology_ai"
_MODALITIES: Final = frozenset(("CT", "MR", "US"))
_FILES: Final = {f"RadiologyAI_{name}.csv": code for code, name in enumerate(SPLITS)}


@dataclass(frozen=True, slots=True)
class Shipped:
    """Labels and splits (None where a file is in no list) of the catalog's files, as shipped."""

    labels: Labels
    splits: list[int | None]


def with_modality(header: Header) -> Header:
    """The header of a file in this layout with the modality that its folder says: PNG files hold none."""
    if header.format != "image" or header.attributes.modality:
        return header
    folders = header.source.split("/")[:-1]
    if _ROOT in folders:
        folders = folders[folders.index(_ROOT) + 1 :]
    elif len(folders) < 2:
        return header
    if not folders or folders[0] not in _MODALITIES:
        return header
    return replace(header, attributes=replace(header.attributes, modality=folders[0]))


def find_shipped(root: Path, names: Iterable[str], headers: Sequence[Header]) -> Shipped | None:
    """Read the lists among `names` (all files below `root`); None where there are none.

    Raises:
        UsageError: the lists name none of the images, or one image in two splits.
    """
    lists = [name for name in names if name.rpartition("/")[2] in _FILES]
    if not lists:
        return None
    rows = {header.source: row for row, header in enumerate(headers)}
    labels: list[str | None] = [None] * len(headers)
    splits: list[int | None] = [None] * len(headers)
    for name in lists:
        folder, _, file = name.rpartition("/")
        table = read_table(root / name, "the list", ["label"])
        if table.key != "path":
            raise UsageError(
                f"{file} in --src has no column filename: it is not the list that RadImageNet ships; rename or remove it"
            )
        for filename, line in table.rows.items():
            row = _row_of(filename, folder, rows)
            if row is None:
                continue
            if splits[row] not in (None, _FILES[file]):
                raise UsageError(
                    f"{file}, line {table.lines[line]}, puts an image into a second split: remove it from one of the lists"
                )
            labels[row], splits[row] = table.values["label"][line], _FILES[file]
    if all(split is None for split in splits):
        raise UsageError(
            f"the lists {', '.join(sorted(_FILES))} in --src name none of its {len(headers)} images: "
            "their filenames must be relative to the lists' folder or to --src"
        )
    return Shipped(from_texts(labels, "radimagenet"), splits)


def _row_of(filename: str, folder: str, rows: dict[str, int]) -> int | None:
    """Filenames are relative to the data folder, with or without its own name."""
    short = filename.partition("/")[2] if filename.startswith(f"{_ROOT}/") else filename
    base = f"{folder}/" if folder else ""
    for candidate in (base + filename, filename, f"{base}{_ROOT}/{filename}", base + short, short):
        if candidate in rows:
            return rows[candidate]
    return None
