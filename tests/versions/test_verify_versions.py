"""`radload verify` on every version that a data set goes through, and repairs of one that has several."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_pack import WriteSeries

import radload
from radload.dataset.manifest import generations
from radload.export import ExportOptions, export
from radload.pack import PackOptions, append, pack
from radload.verify import verify
from radload.verify.repair import drop
from radload.versions import compact, forget


@pytest.fixture
def options(clinic: Path, tmp_path: Path, write_series: WriteSeries) -> PackOptions:
    """Two versions with labels."""
    options = PackOptions(
        clinic, tmp_path / "out", split="60/20/20", shard_size=0.004, workers=0, labels_from="modality"
    )
    pack(options)
    write_series(clinic / "new", patient="P8", study="st8", series="s8")
    write_series(clinic / "more", patient="P0", study="st0", series="more")
    append(options)
    (tmp_path / "list").write_text("P0\n")
    return options


def test_it_holds_after_every_step(options: PackOptions, tmp_path: Path) -> None:
    for step in (
        lambda: None,
        lambda: forget(options.out, tmp_path / "list"),
        lambda: compact(options.out),
    ):
        step()
        report = verify(options.out, workers=0)
        assert report.whole, report.problems
    export(ExportOptions(options.out, tmp_path / "to", new_pseudonyms=True, drop_geometry=True))
    report = verify(tmp_path / "to", workers=0)
    assert report.whole, report.problems


def test_a_repair_keeps_labels_and_what_is_to_be_compacted(options: PackOptions, tmp_path: Path) -> None:
    with radload.open(options.out) as ds:
        damaged = ds.index.shard_names[int(ds.index.records["shard"][0])]
        next_key, next_shard = ds.index.next_key, ds.index.next_shard
    forget(options.out, tmp_path / "list")
    with radload.open(options.out) as ds:
        shard = ds.index.shard_names.index(damaged) if damaged in ds.index.shard_names else 0
        name = ds.index.shard_names[shard]
        record = ds.index.records[ds.index.records["shard"] == shard][0]
    path = options.out / name
    data = bytearray(path.read_bytes())
    data[int(record["offset"]) + 40] ^= 1
    path.write_bytes(data)
    report = verify(options.out, workers=0)
    assert len(report.bad) == 1
    done = drop(options.out, report)
    assert done.samples == 1
    report = verify(options.out, workers=0)
    assert report.whole, report.problems
    with radload.open(options.out) as ds:
        assert {sample.label for sample in ds} == {"CT"} and ds.manifest.withdrawn == [0, 1]
        assert ds.index.next_key == next_key and ds.index.next_shard == next_shard + 1
        assert generations(options.out, ds.manifest) == [2, 3], "the version before still names the damaged shard"
        kept = {sample.key for sample in ds}
    gone = compact(options.out)
    assert set(gone.removed) >= {0, 1}
    report = verify(options.out, workers=0)
    assert report.whole and not report.unlisted, report.problems
    with radload.open(options.out) as ds:
        assert {sample.key for sample in ds} == kept and all(sample.label == "CT" for sample in ds)
