"""What a pack does with each real file, as a table. To write outcomes.csv again after a change of policy, and look at its diff:

python tests/pack/outcomes.py
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydicom

from radload.pack import PackOptions, pack
from radload.pack.catalog import scan_without_writing
from radload.pack.decisions import write_template
from radload.pack.eligible import without_left_out
from radload.pack.masks import is_mask
from radload.pack.options import INCLUDABLE
from radload.pack.quarantine import prepared, screen
from radload.pack.walk import walk
from radload.sources import NotAnImage, PartOf, Refused, scan

TABLE = Path(__file__).with_name("outcomes.csv")
# decided: what a file that waits in quarantine, or its mask, ends as once it is decided to pack it
COLUMNS = ("file", "outcome", "flags", "decided")
PYDICOM = "pydicom:test_files/"  # how INDEX.csv names files of the pydicom package, which are everywhere
LEFT_ALONE = ("INDEX.csv", "golden.csv", "series_labels.csv")  # what the folder says about itself


def folders(shared: Path | None) -> Iterator[tuple[str, Path]]:
    """(prefix in the table, folder)."""
    yield PYDICOM, Path(pydicom.__file__).parent / "data" / "test_files"
    if shared is not None:
        yield "", shared


def outcomes_of(source: Path, out: Path, **options: Any) -> dict[str, str]:
    """File below `source` -> "packed", "rejected CODE" or "ignored", after a pack into `out`."""
    summary = pack(PackOptions(source, out, **{"workers": 2, **options}))
    private = out.with_name(f"{out.name}.private")
    found = dict.fromkeys((file.source for file in walk(source)), "ignored")
    for row in pq.read_table(private / "rejects.parquet").to_pylist():
        if row["frame"] is None or found[row["source"]] == "ignored":
            found[row["source"]] = f"rejected {row['code']}"
    for row in pq.read_table(private / "crosswalk.parquet").to_pylist():
        found[row["source"]] = "packed"
        if row["mask_source"] is not None:
            found[row["mask_source"]] = "packed"
    for name in [name for name, outcome in found.items() if outcome == "ignored"]:
        try:
            scan(source / name, name)
        except PartOf as part:  # of a pair, only the header has rows
            found[name] = found[part.source]
        except (NotAnImage, Refused):
            continue
    counted = (summary.packed, sum(summary.rejected.values()), summary.ignored)
    kinds = [outcome.split()[0] for outcome in found.values()]
    if counted != tuple(kinds.count(kind) for kind in ("packed", "rejected", "ignored")):
        raise ValueError(f"the summary counts {counted}, the tables say otherwise")
    return found


def decide_all(source: Path, path: Path, include: tuple[str, ...] = ()) -> Path:
    """Write decisions.toml, `path`, that packs all that is in quarantine below `source`."""
    files = list(walk(source))
    catalog = scan_without_writing(source, files, 2, 2, path.parent).read(files)
    catalog = replace(catalog, headers=tuple(prepared(header) for header in catalog.headers))
    spare = partial(is_mask, allow="looks-like-mask" in include)
    groups = screen(without_left_out(catalog, frozenset(include)), PackOptions(source, path), spare).groups
    entries = {group.name: {"decision": "pack"} for group in groups}
    path.write_text(write_template([(group, files, 0) for group, files in groups.items()], entries), "utf-8")
    return path


def read_table() -> dict[str, tuple[str, str, str]]:
    """File -> (outcome, flags that bring it in, "" for none, outcome where all that is in quarantine is decided)."""
    with TABLE.open(newline="") as file:
        return {
            row["file"]: (row["outcome"], row["flags"], row["decided"] or row["outcome"])
            for row in csv.DictReader(file)
        }


def main() -> None:
    shared = Path(__file__).parents[3] / "shared" / "data"
    if not (shared / "golden.csv").is_file():
        raise SystemExit(f"the real files are not at {shared}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for prefix, source in folders(shared):
            plain = outcomes_of(source, Path(folder) / f"plain{len(prefix)}")
            path = Path(folder) / f"decisions{len(prefix)}.toml"
            decided = outcomes_of(source, Path(folder) / f"decided{len(prefix)}", decisions=decide_all(source, path))
            everything = outcomes_of(
                source,
                Path(folder) / f"all{len(prefix)}",
                include=INCLUDABLE,
                decisions=decide_all(source, path, INCLUDABLE),
            )
            for name, outcome in plain.items():
                back = everything[name] == "packed" != decided[name]
                flags = f"--include {outcome.split()[1]}" if back else ""
                rows.append((prefix + name, outcome, flags, decided[name] if decided[name] != outcome else ""))
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row for row in sorted(rows) if row[0] not in LEFT_ALONE)


if __name__ == "__main__":
    main()
