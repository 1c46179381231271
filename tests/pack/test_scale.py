"""A hundred thousand slices in one folder, packed by two workers and killed twice on the way: memory stays flat, the rate too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from conftest_pack import WriteDicom, shards_of

import radload
from radload import codecs
from radload.dataset.manifest import MANIFEST
from radload.pack.part import PACKING, read_part
from radload.pack.sample import pixel_hash

COUNT: Final = 100_000
PER_SERIES: Final = 100
SIDE: Final = 128
PARENT_LIMIT: Final = 1 << 30  # bytes that the parent may hold
_KILLED_AT: Final = (1 / 3, 2 / 3)  # of the slices


def write_slices(folder: Path, write_dicom: WriteDicom, count: int) -> None:
    """`count` CT files in one folder, 100 a series, two series a patient; each pixel row is turned by another number of places."""
    template = folder.parent / "template.dcm"
    random = np.random.default_rng(0)
    pixels = np.cumsum(random.integers(-3, 4, (SIDE, SIDE)), axis=1).astype("<i2")
    uids = {"SOPInstanceUID": "1.2.3.999999991", "SeriesInstanceUID": "1.2.4.999999992", "StudyInstanceUID": "1.2.5.999999993"}  # fmt: skip
    write_dicom(template, pixels, patient="P00000004", ImagePositionPatient=["0", "0", "000005"], **uids)
    content = template.read_bytes()
    head, body = content[: -pixels.nbytes], content[-pixels.nbytes :]
    if body != pixels.tobytes():
        raise ValueError("the pixels do not end the file")
    folder.mkdir()
    rows = np.arange(SIDE)[:, None]
    for number in range(count):
        series, place = divmod(number, PER_SERIES)
        changed = head.replace(b"1.2.3.999999991", b"1.2.3.1%08d" % number)
        changed = changed.replace(b"1.2.4.999999992", b"1.2.4.1%08d" % series)
        changed = changed.replace(b"1.2.5.999999993", b"1.2.5.1%08d" % series)
        changed = changed.replace(b"P00000004", b"P1%07d" % (series // 2)).replace(b"000005", b"%06d" % place)
        turned = pixels[rows, (np.arange(SIDE)[None, :] + rows * (number % SIDE) + number // SIDE) % SIDE]
        (folder / f"{number * 7919 % count:08d}.dcm").write_bytes(changed + turned.tobytes())


@dataclass
class Seen:
    """What a look at a running pack saw.

    Attributes:
        parent: largest resident bytes of the parent, per run; parts: (CPU seconds of all its processes, slices in finished shards) over all
            runs. Slices, because the largest shards are packed first.
        times: CPU seconds of each process, by run and id: what an ended worker used counts.
        slices: of each finished shard, by the name of its part.
        pace: (slices finished, CPU seconds of a fixed piece of work) at each look: others on the machine slow both down.
    """

    parent: list[int] = field(default_factory=list)
    parts: list[tuple[float, int]] = field(default_factory=list)
    times: dict[tuple[int, int], float] = field(default_factory=dict)
    slices: dict[str, int] = field(default_factory=dict)
    pace: list[tuple[int, float]] = field(default_factory=list)


def piece_of_work() -> float:
    """CPU seconds of coding one image ten times."""
    image = np.cumsum(np.random.default_rng(0).integers(-3, 4, (SIDE, SIDE)), axis=1).astype(np.int16)
    started = time.thread_time()
    for _ in range(10):
        codecs.encode(image)
    return time.thread_time() - started


def look(seen: Seen, run: int, session: int, out: Path) -> int:
    """One look at the processes of `session`; returns the slices in finished shards."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            seen.times[run, int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            if int(path.parent.name) == session:
                seen.parent[-1] = max(seen.parent[-1], int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
    for path in out.glob(f"{PACKING}/parts/[!.]*.arrow"):
        if path.name not in seen.slices:
            with suppress(FileNotFoundError):  # the last of its pack, which takes them away
                seen.slices[path.name] = len(read_part(path).shard.records)
    done = sum(seen.slices.values())
    seen.pace.append((done, piece_of_work()))
    if done and (not seen.parts or done > seen.parts[-1][1]):
        seen.parts.append((sum(seen.times.values()), done))
    return done


def start(source: Path, out: Path) -> subprocess.Popen[Any]:
    command = [sys.executable, "-m", "radload.cli", "pack", "--src", source, "--out", out, "--workers", "2", "--quiet"]
    command += ["--shard-size", "16"]
    return subprocess.Popen([str(part) for part in command], start_new_session=True)


def pack_killed_twice(source: Path, out: Path, count: int) -> Seen:
    """Pack; SIGKILL for all of its processes when a third and two thirds of the slices are in finished shards."""
    seen = Seen()
    for run, until in enumerate((*(share * count for share in _KILLED_AT), float("inf"))):
        process = start(source, out)
        seen.parent.append(0)
        while process.poll() is None:
            if look(seen, run, process.pid, out) >= until:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.2)
        if process.wait() != (0 if run == len(_KILLED_AT) else -signal.SIGKILL):
            raise RuntimeError(f"run {run} ended with {process.returncode}")
    return seen


def trend(seen: Seen) -> float:
    """How much more CPU time a slice takes at the end than at the beginning, as a share of the mean: 0 for a steady rate.

    A line through the cost of each step, in pieces of work of the same minute; steps that hold a killed run, which scanned again, are
    left out.
    """
    cpu, done = np.array(seen.parts, float).T
    where, pieces = np.array(seen.pace).T
    edges = np.linspace(done[0], done[-1], 21)
    marks = np.searchsorted(done, edges)
    cost = []
    for first, last in pairwise(marks):
        here = pieces[(where >= done[first]) & (where <= done[last])]
        steps, slices = np.diff(cpu[first : last + 1]), np.diff(done[first : last + 1])
        usual = steps / slices < 3 * np.median(steps / slices)
        cost.append(steps[usual].sum() / slices[usual].sum() / np.median(here))
    slope, _ = np.polyfit(edges[:-1], cost, 1)
    return float(slope * (done[-1] - done[0]) / np.mean(cost))


@pytest.mark.soak
def test_a_hundred_thousand_slices(tmp_path: Path, write_dicom: WriteDicom) -> None:
    count = COUNT
    write_slices(tmp_path / "src", write_dicom, count)
    seen = pack_killed_twice(tmp_path / "src", tmp_path / "out", count)
    change = trend(seen)
    figures = {"slices": count, "parent MiB": [peak >> 20 for peak in seen.parent], "trend": round(change, 3)}
    print(json.dumps(figures | {"CPU s": round(sum(seen.times.values())), "shards": len(shards_of(tmp_path / "out"))}))
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_bytes())
    assert (manifest["samples"], manifest["source"]) == (count, {"packed": count, "rejected": 0, "ignored": 0})
    with radload.open(tmp_path / "out") as data:
        assert len(np.unique(data.index.records["key"])) == count, "nothing twice, nothing missing"
        for row in range(0, count, count // 50):
            sample = data[row]
            assert pixel_hash(sample.stored) == data.index.table("samples").column("pixel_hash")[row].as_py()
    assert max(seen.parent) < PARENT_LIMIT
    assert abs(change) < 0.15, "the rate has a trend"
