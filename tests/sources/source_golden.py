"""Compares slices with rows of a golden.csv; used by the tests beside it."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom

from radload.sources import Slice

Row = dict[str, str]
GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def rows_of(folder: Path) -> dict[str, list[Row]]:
    """file -> its rows."""
    rows: dict[str, list[Row]] = defaultdict(list)
    with (folder / "golden.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["file"]].append(row)
    return rows


def path_of(folder: Path, file: str) -> Path:
    """The path of a row's file: in `folder`, or in the pydicom package."""
    if file.startswith("pydicom:"):
        return Path(pydicom.__file__).parent / "data" / file.removeprefix("pydicom:")
    return folder / file


def differences(slices: list[Slice], rows: list[Row], nifti: bool) -> list[str]:
    """What of `rows` the slices do not give; whole-volume rows (frame -1) are compared with the sum of all frames."""
    wrong = []
    by_frame = {piece.frame: piece for piece in slices}
    for row in rows:
        frame = int(row["frame"])
        if frame == -1:
            stored = np.stack([piece.stored for piece in slices])
            modality = float(sum(piece.modality().sum() for piece in slices))
            shape = row["shape"]  # compared per frame, where there are such rows; the number of values always
            if stored.size != np.prod([int(n) for n in shape.split("x")]):
                wrong.append(f"{row['file']}: {stored.size} values, not {shape}")
        elif frame not in by_frame:
            wrong.append(f"{row['file']} frame {frame}: missing")
            continue
        else:
            stored = by_frame[frame].stored
            modality = float(by_frame[frame].modality().sum())
            shape = "x".join(str(n) for n in (stored.swapaxes(0, 1) if nifti else stored).shape)
        found = {"shape": shape, "dtype": str(stored.dtype)}
        if row["lossy"] == "yes":
            mean, golden = float(stored.mean(dtype=np.float64)), float(row["sum_stored"]) / stored.size
            if abs(mean - golden) > 1:
                wrong.append(f"{row['file']} frame {frame}: mean {mean}, not {golden}")
        elif stored.dtype.kind in "iu":
            found |= {
                "sum_stored": str(
                    sum(int(n) for n in stored.reshape(-1, stored.shape[-1]).sum(axis=1, dtype=_wide(stored.dtype)))
                )
            }
        elif not np.isclose(float(stored.sum(dtype=np.float64)), float(row["sum_stored"]), rtol=1e-9):
            wrong.append(f"{row['file']} frame {frame}: sum {stored.sum()}, not {row['sum_stored']}")
        wrong += [
            f"{row['file']} frame {frame}: {key} {value}, not {row[key]}"
            for key, value in found.items()
            if value != row[key]
        ]
        exact = row["lossy"] != "yes" and not row["modality_source"].startswith("n/a")
        if exact and row["sum_modality"] and not np.isclose(modality, float(row["sum_modality"]), rtol=1e-9):
            wrong.append(f"{row['file']} frame {frame}: modality sum {modality}, not {row['sum_modality']}")
    return wrong


def _wide(dtype: np.dtype[np.generic]) -> str:
    return "u8" if dtype.kind == "u" else "i8"
