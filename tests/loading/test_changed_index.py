"""Index and labels that are cut or overwritten under a running Loader: copies go on, mapped ones end it with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from make import Image, Series, ct_slice, write_dataset

from radload.dataset import mapped
from radload.dataset.labels import LabelSet
from radload.errors import FormatError
from radload.loading import Loader, process

# In a process of its own, because what it guards against is a signal. "large": every file counts as large, on both sides.
SCRIPT = """
import json, os, sys, time
from pathlib import Path
from radload.dataset import mapped
from radload.errors import RadloadError
from radload.loading import Loader, process

root, large = Path(sys.argv[1]), sys.argv[2] == "large"
if large:
    mapped.COPIED = 0
    process._START = process._START.replace("from", "import radload.dataset.mapped as m; m.COPIED = 0; from", 1)
options = dict(batch_size=4, size=16, threads=1, prefetch=1, masks=True, sampler="balanced", meta=["modality", "view", "patient"])

def outcome(path, change):
    whole = path.read_bytes()
    with Loader(root, **options) as loader:
        batches = iter(loader)
        next(batches)
        if change == "cut":
            os.truncate(path, 0)
        elif change == "touch":
            os.utime(path)
        else:
            with path.open("r+b") as file:
                file.write(bytes(255 - b for b in whole))
        try:
            told = [batch["index"].tolist() for batch in batches]
        except RadloadError as error:
            told = f"{type(error).__name__}: {error}"
        path.write_bytes(whole)
        return told

names = ["index/000000/" + n for n in ("records.bin", "series.bin", "masks.bin", "samples.arrow", "series.arrow")]
told = {f"{n} {c}": outcome(root / n, c) for n in [*names, "labels/default.arrow"] for c in ("cut", "overwrite", "touch")}
with Loader(root, **options) as loader:
    told["whole"] = [batch["index"].tolist() for batch in loader][1:]
print(json.dumps(told))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """24 slices with masks, in two classes."""
    images = [Image(ct_slice(i), intercept=-1024.0, mask=np.full((64, 64), i, np.uint8)) for i in range(24)]
    labels = LabelSet("default", "single", ("a", "b"), np.arange(24, dtype=np.int32) % 2, "csv")
    return write_dataset(tmp_path / "data", [Series(images[:12]), Series(images[12:])], labels)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_changed_index_never_kills_and_never_lies(root: Path, size: str) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, str(root), size], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout)
    whole = told.pop("whole")
    assert len(told) == 18 and len(whole) > 3
    for case, outcome in told.items():
        name, change = case.split()
        # of the labels no checksum is known: a touch cannot be told from a change
        if size == "small" or (change == "touch" and not name.startswith("labels")):
            assert outcome == whole, case
        else:
            assert outcome.startswith("FormatError") and f"{name} was changed while it was in use" in outcome, (
                case,
                outcome,
            )


def test_whatever_changed_values_lead_to_the_change_is_the_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is overwritten between the look before a batch and the use of its values: not the error of the values is told."""
    monkeypatch.setattr(mapped, "COPIED", 0)
    monkeypatch.setattr(process, "_START", LATE + process._START)
    changed = pytest.raises(FormatError, match=r"records\.bin was changed while it was in use")
    with Loader(root, batch_size=4, size=16, threads=1, prefetch=1) as loader, changed:
        list(loader)


# in the loader process: records.bin is overwritten just after the first look at it
LATE = (
    "import radload.dataset.mapped as m; m.COPIED = 0; look = m.OpenFiles.check\n"
    "def late(files, seen=[]):\n"
    "    look(files)\n"
    "    one = next(f for f in files._watched if f.path.name == 'records.bin')\n"
    "    one.path.write_bytes(bytes(255 - b for b in one.path.read_bytes())) if not seen else None\n"
    "    seen.append(one)\n"
    "m.OpenFiles.check = late\n"
)
