"""What planning a pack of many slices takes; no file and no pixel exists: headers are made where they would be read.

As a program, `python tests/pack/plan_make.py SLICES FOLDER`: a line of JSON for each step, with the resident bytes for each slice that came
since the start, now and at most, and the CPU seconds since the start. The catalog is written by a process of its own.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from unittest import mock

from catalog_make import ROOT, instead_of_reading, make_files, write

from radload.pack import catalog_rows, privacy
from radload.pack.catalog import scan_catalog
from radload.pack.compact import SourceFiles
from radload.pack.display import Display
from radload.pack.options import PackOptions, check
from radload.pack.plan import with_seen
from radload.pack.prepare import plan_shards, prepare
from radload.pack.workspace import Folders, State


def memory() -> tuple[int, int]:
    """(resident bytes, the most there ever were)."""
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if "Vm" in name
    }
    return found["VmRSS"], found["VmHWM"]


def main(count: int, folder: Path) -> None:
    private = folder / "private"
    private.mkdir(parents=True)
    if not (child := os.fork()):
        write(count, private)
        os._exit(0)
    os.waitpid(child, 0)
    (start, _), begun = memory(), time.process_time()

    def say(what: str) -> None:
        now, most = memory()
        said = {"step": what, "now": (now - start) // count, "most": (most - start) // count}
        sys.stdout.write(json.dumps({**said, "cpu_s": round(time.process_time() - begun, 1)}) + "\n")
        sys.stdout.flush()

    files = SourceFiles(make_files(count))
    say("walk")
    options = PackOptions(folder, folder / "out", private)
    checked = check(options)
    with mock.patch.object(catalog_rows, "scan_chunks", instead_of_reading):
        scan = scan_catalog(ROOT, files, checked.axis, 2, private)
    say("catalog")
    folders = Folders(ROOT, options.out, private, State.FRESH)
    prepared = prepare(options, checked, folders, files, scan, (), 2, Display(None))
    say("patients and splits")
    pseudonym = partial(privacy.pseudonym, bytes(32))
    plan, screened = plan_shards(options, checked, options.out, prepared, pseudonym)
    plan = with_seen(plan, files, screened.catalog.rows)
    say("plan")
    digest = hashlib.sha256("".join(job.digest for job in plan.jobs).encode()).hexdigest()
    say(f"{len(plan.jobs)} jobs made once, {digest[:16]}")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
