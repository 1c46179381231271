"""Small packed data sets with everything that a shard may hold, and ways to damage them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from conftest_pack import WriteDicom, write_png
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.segment import file_crc
from radload.pack import PackOptions, pack
from radload.verify.run import _Tasks
from radload.verify.shard import ShardFindings, ShardTask, check_shard

SHARD = "train/000000.tar"


def _table(first: int, values: list[int]) -> Dataset:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [len(values), first, 16], np.array(values, "<u2").tobytes()
    return table


def write_source(root: Path, write_dicom: WriteDicom) -> None:
    """Six patients: plain CT, a modality table, a VOI table, colour, padding, 32 bits that stay raw, and a NIfTI volume with a mask."""
    random = np.random.default_rng(3)
    for number in range(6):
        for place in range(3):
            extra: dict[str, Any] = {"KVP": 100 + number, "WindowCenter": [40, 500], "WindowWidth": [400, 2000]}
            pixels = np.cumsum(random.integers(-3, 4, (20, 17)), axis=1).astype(np.int16)
            if number == 1:
                pixels = random.integers(0, 8, (20, 17)).astype(np.uint16)
                extra |= {"ModalityLUTSequence": [_table(0, list(range(5, 13)))]}
                extra |= {"RescaleSlope": None, "RescaleIntercept": None}
                extra["ModalityLUTSequence"][0].ModalityLUTType = "HU"
            elif number == 2:
                extra |= {"VOILUTSequence": [_table(0, list(range(0, 400, 10)))], "PixelPaddingValue": -2000}
                pixels[:2] = -2000
            elif number == 3:
                write_png(root / f"3/{place}.png", random.integers(0, 256, (12, 11, 3)).astype(np.uint8))
                continue
            elif number == 4:
                pixels = random.integers(-(2**30), 2**30, (9, 8)).astype(np.int32)
            names = {"patient": f"P{number}", "study": f"t{number}", "series": f"s{number}"}
            write_dicom(root / f"{number}/{place}.dcm", pixels, place=place, **names, **extra)
    volume = random.integers(-900, 900, (9, 8, 4)).astype(np.int16)
    for name, values in (("v", volume), ("v_seg", (volume > 300).astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1])), root / f"{name}.nii.gz")  # type: ignore[no-untyped-call]


def options(source: Path, out: Path, **other: Any) -> PackOptions:
    """How the tests pack `write_source`: two shards in train, one in each other split."""
    chosen: dict[str, Any] = {
        "workers": 0,
        "split": "60/20/20",
        "masks": ("*_seg.nii.gz",),
        "keep": ("KVP",),
        "attest_no_phi": True,
        "shard_size": 0.0035,
    }
    return PackOptions(source, out, labels_from="folder:1", **(chosen | other))


def make(root: Path, write_dicom: WriteDicom) -> Path:
    """Write, pack, and return the data set; its source is beside it as "src"."""
    write_source(root / "src", write_dicom)
    pack(options(root / "src", root / "shards"))
    return root / "shards"


def opened(root: Path) -> Index:
    """The index of a data set."""
    return open_index(root, read_manifest(root))


def task_of(root: Path, name: str = SHARD, *, quick: bool = False) -> ShardTask:
    """What a worker is given for one shard."""
    return _Tasks(root, opened(root), quick, {name})[0]


def look(task: ShardTask) -> ShardFindings:
    """Check a shard in this process."""
    return check_shard(task, lambda item, done: None)


def flip(path: Path, position: int, bits: int = 1) -> None:
    """Change bits of one byte, in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ bits,)))


def rewrite(root: Path, name: str, content: bytes) -> None:
    """Replace a file of the index and its checksum: what a wrong writer or an attacker would leave, not what a disk does."""
    folder = opened(root).folder
    (folder / name).write_bytes(content)
    said = json.loads((folder / "segment.json").read_bytes())
    said["files"][name] = {"bytes": len(content), "crc32c": file_crc(folder / name)}
    (folder / "segment.json").write_text(json.dumps(said))


def change(root: Path, name: str, dtype: np.dtype[Any], row: int, field: str, value: Any) -> None:
    """Set one field of one record of an index file."""
    records: NDArray[Any] = np.fromfile(opened(root).folder / name, dtype)
    records[field][row] = value
    rewrite(root, name, records.tobytes())
