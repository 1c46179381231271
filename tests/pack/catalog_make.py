"""Catalogs of many files that do not exist: headers are made where they would be read.

As a program, `python tests/pack/catalog_make.py ROWS FOLDER [SHRINK]`: writes the catalog of ROWS files, updates it with every 1000th
file changed, selects from it, and prints as JSON what that took: CPU seconds, and the peak of resident memory in MiB after each step.
SHRINK divides the sizes of blocks, segments and row groups, so that few rows show what many do.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

from radload.pack import catalog, catalog_rows
from radload.pack.catalog import CATALOG, Scan, scan_catalog
from radload.pack.executor import Crew
from radload.pack.scan import InputFile, ScanJob
from radload.pack.select import matching_rows
from radload.pack.worker import Beat, Limits
from radload.sources import Header, PrivateDetails, SeriesAttributes

ROOT = Path("/nowhere")
SLICES = 200  # of a series
EXPRESSION = "modality = 'CT' and rows >= 512 and study_date < '2015-01-01'"


def make_files(count: int, changed: int = 0) -> Iterator[InputFile]:
    """`count` files in order of name; every `changed`th has another time than in the first scan."""
    for number in range(count):
        patient, place = divmod(number, SLICES)
        late = changed and number % changed == 0
        yield InputFile(f"hospital/patient-{patient:07d}/series/IM{place:05d}.dcm", 526_000, 1_600_000_000 + bool(late))


def make_header(name: str, size: int = 526_000) -> Header:
    """A CT or MR slice, whose patient is in its name."""
    _, patient, _, file = name.split("/")
    number, place = int(patient[8:]), int(file[2:7])
    uid = f"1.2.826.0.1.3680043.8.498.{number * 982_451_653 % 10**30:030d}"
    kind = number % 2
    return Header(
        source=name,
        format="dicom",
        rows=(512, 256)[kind],
        cols=(512, 256)[kind],
        channels=1,
        bits=16,
        frames=1,
        attributes=SeriesAttributes(("CT", "MR")[kind], "CHEST", "Maker", f"Model {number % 9}", "B30f"),
        patient=f"P{number:08d}",
        study=f"{uid}.1",
        series=f"{uid}.1.2",
        sop=f"{uid}.1.2.{place}",
        accession=f"A{number:09d}",
        positions=(place * 1.25,),
        instance=place,
        normal=(0.0, 0.0, 1.0),
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        phases=((1, 0, number % 3),),
        origins=((-180.5, -180.25 + number % 7, place * 1.25),),
        name=f"Name^{number}",
        private=PrivateDetails(
            date(2010 + number % 10, 1 + number % 12, 1),
            date(2010, 1, 1),
            float(number % 90),
            "F",
            f"Study {number}",
            "Thin",
            "P",
        ),
    )


def instead_of_reading(
    function: Callable[[ScanJob, Beat], Any],
    jobs: Sequence[ScanJob],
    workers: int,
    limits: Limits,
    crew: Crew | None,
) -> Iterator[tuple[tuple[InputFile, ...], Any]]:
    """Stands for `scan_chunks`: the same rows, of headers that were made."""
    for job in jobs:
        yield job.files, catalog_rows.encode(job.files, [make_header(file.source) for file in job.files])


def write(count: int, folder: Path, changed: int = 0) -> Scan:
    """The catalog of `count` files."""
    with mock.patch.object(catalog_rows, "scan_chunks", instead_of_reading):
        return scan_catalog(ROOT, make_files(count, changed), 2, 0, folder)


def peak() -> float:
    """MiB that this process has held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024, 1)


def main(count: int, folder: Path, shrink: int) -> None:
    folder.mkdir(exist_ok=True)
    catalog_rows.BLOCK //= shrink
    catalog_rows._SEGMENT //= shrink
    catalog._GROUP //= shrink
    said: dict[str, Any] = {"rows": count, "start_mib": peak()}
    begun = time.process_time()
    scan = write(count, folder)
    said |= {"write_s": round(time.process_time() - begun, 1), "write_mib": peak()}
    said["bytes_per_row"] = round((folder / CATALOG).stat().st_size / count, 1)
    begun = time.process_time()
    scan = write(count, folder, changed=1000)
    said |= {"update_s": round(time.process_time() - begun, 1), "reused": scan.reused, "update_mib": peak()}
    begun = time.process_time()
    rows = matching_rows(scan.data, EXPRESSION, "--where")
    said |= {"selected": len(rows), "where_s": round(time.process_time() - begun, 2), "where_mib": peak()}
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
