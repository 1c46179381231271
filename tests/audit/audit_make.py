"""Packs the small clinic with a given division, and rewrites its index: what a defect of a packer would leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from make import rewrite

from radload.audit import Audit, Check, Status
from radload.dataset.index import segment_folder
from radload.pack import PackOptions, pack

SPLIT_OF = {"P0": "train", "P1": "train", "P2": "train", "P3": "val", "P4": "test", "P5": "test"}
Packed = Callable[..., Path]


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """packed(source, name="shards", labels=None, **options): the shards of `source`, its patients divided as SPLIT_OF says."""

    def run(source: Path, name: str = "shards", labels: str | None = None, **options: Any) -> Path:
        options = {"workers": 0, "codec": "raw"} | options
        if "splits" not in options:
            options["splits"] = tmp_path / "splits.csv"
            rows = [f"{patient},{split}" for patient, split in SPLIT_OF.items()]
            options["splits"].write_text("\n".join(["patient,split", *rows]) + "\n")
        if labels is not None:
            options["labels"] = tmp_path / f"{name}.labels.csv"
            options["labels"].write_text(labels)
        pack(PackOptions(source, tmp_path / name, **options))
        return tmp_path / name

    return run


def failed(audit: Audit) -> dict[str, Check]:
    """The checks that fail, by name."""
    return {check.name: check for check in audit.checks if check.status is Status.FAILS}


def read_table(root: Path, name: str) -> pa.Table:
    """A table of the index, in memory."""
    return pa.ipc.open_file(pa.py_buffer((root / segment_folder(0) / f"{name}.arrow").read_bytes())).read_all()


def write_table(root: Path, name: str, table: pa.Table) -> None:
    """Replace a table of the index."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (root / segment_folder(0) / f"{name}.arrow").chmod(0o644)
    rewrite(root, f"{name}.arrow", sink.getvalue().to_pybytes())


def set_column(root: Path, name: str, column: str, values: list[Any]) -> None:
    """Replace a column of a table of the index."""
    table = read_table(root, name)
    place = table.schema.get_field_index(column)
    write_table(
        root, name, table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))
    )


def same_pseudonym(root: Path, name: str, first: int, second: int) -> str:
    """Give row `second` of a table the pseudonym of row `first`: one patient, study or series in two places."""
    names = read_table(root, name).column("pseudonym").to_pylist()
    names[second] = names[first]
    set_column(root, name, "pseudonym", names)
    return names[first]
