"""A source that exercises what jobs carry, and the sum of everything that a pack leaves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
from conftest_pack import WriteDicom, WriteSeries, write_png

from radload.pack import PackOptions

SHARD = 0.008  # MiB: a few series of a shard
KEY = "5e" * 32
MASKS = "*_seg.nii"


def write_source(root: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> None:
    """14 patients with 28 series of 3 slices, a volume and its mask, a picture, a broken file, a text, and a name that is no UTF-8."""
    for number in range(28):
        write_series(root / f"Doe_{number}", patient=f"P{number // 2}", study=f"st{number}", series=f"s{number}")
    odd = root / "odd" / "M\udcfcller.dcm"
    write_dicom(root / "odd" / "plain.dcm", patient="P99", series="odd")
    (root / "odd" / "plain.dcm").rename(odd)
    write_dicom(root / "odd" / "broken.dcm", patient="P99", series="odd", place=1)
    content = (root / "odd" / "broken.dcm").read_bytes()
    (root / "odd" / "broken.dcm").write_bytes(content[: len(content) - 200])
    write_png(root / "pictures" / "a.png", np.arange(600, dtype=np.uint8).reshape(20, 30))
    volume = np.random.default_rng(0).integers(0, 500, (12, 10, 8)).astype(np.int16)
    for name, voxels in (("a.nii", volume), ("a_seg.nii", (volume > 400).astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / name)
    (root / "readme.txt").write_text("no image")


def options_for(source: Path, out: Path, workers: int = 0) -> PackOptions:
    """Options under which packs of `source` have the same pseudonyms wherever they go."""
    key = source.with_name("pseudonym.key")
    key.write_text(KEY)
    return PackOptions(
        source,
        out,
        shard_size=SHARD,
        workers=workers,
        key=key,
        labels_from="modality",
        attest_no_phi=True,
        masks=(MASKS,),
    )


def everything(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a data set and its private folder, by its name."""
    private = out.with_name(f"{out.name}.private")
    return {
        f"{root.suffix}/{path.relative_to(root)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for root in (out, private)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
