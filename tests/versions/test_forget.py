"""Patients who withdraw: gone from the next version at once, from every byte after `compact`, and out of every later pack."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteSeries, shards_of

import radload
from radload.audit.proof import audit
from radload.errors import FormatError, UsageError
from radload.pack import PackOptions, append, pack
from radload.versions import compact, forget


@pytest.fixture
def options(clinic: Path, tmp_path: Path) -> PackOptions:
    """Two samples of different patients in nearly every shard, labels, and a rejected file of the patient who will withdraw."""
    table = tmp_path / "labels.csv"
    table.write_text("patient,label\n" + "".join(f"P{n},{'ab'[n % 2]}\n" for n in range(6)))
    options = PackOptions(clinic, tmp_path / "out", split="100/0/0", shard_size=0.008, workers=0, labels=table)
    pack(options)
    return options


def write_list(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "withdrawn.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def content(out: Path, version: int | None = None) -> dict[str, tuple[bytes, str, object]]:
    with radload.open(out, version=version) as ds:
        return {s.key: (s.stored.tobytes(), s.split, s.label) for s in ds}


def keys_of(options: PackOptions, patient: str) -> set[str]:
    rows = pq.read_table(options.out.with_name("out.private") / "crosswalk.parquet").to_pylist()
    return {row["key"] for row in rows if row["patient"] == patient}


def needles(options: PackOptions, patient: str) -> list[bytes]:
    """Bytes that are this patient's alone: members of his samples, as they stand in the shards, keys, pseudonym, hashes."""
    with radload.open(options.out) as ds:
        found = [key.encode() for key in keys_of(options, patient)]
        for key in keys_of(options, patient):
            sample = ds[key]
            found.append(ds.shards.read(ds.index.records[sample.row])[:200])
            found.append(sample.meta["pixel_hash"])
            found.append(ds.index.table("patients").column("pseudonym")[sample.meta["patient"]].as_py().encode())
            found.append(sample.meta["series_pseudonym"].encode())
    return found


def holders(out: Path, wanted: list[bytes]) -> set[str]:
    """Files below `out` that hold one of these."""
    return {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in wanted)
    }


def test_the_next_version_is_without_them_and_the_old_one_is_closed(options: PackOptions, tmp_path: Path) -> None:
    before, theirs = content(options.out), keys_of(options, "P0")
    shards = shards_of(options.out)
    done = forget(options.out, write_list(tmp_path, "P0", "", " P0 "))
    assert (done.samples, done.version, done.held, done.patients) == (len(theirs), 1, (0,), 1) and len(theirs) == 6
    after = content(options.out)
    assert after == {key: value for key, value in before.items() if key not in theirs}
    assert shards_of(options.out) == shards, "the shards are rewritten by compact"
    with pytest.raises(UsageError, match="withdrew their consent"):
        radload.open(options.out, version=0)
    with pytest.raises(UsageError, match="withdrew their consent"):
        radload.Loader(options.out, batch_size=2, version=0)
    with radload.open(options.out) as ds:
        assert ds.manifest.patients == 5 and ds.manifest.withdrawn == [0]
        assert ds.index.table("patients").num_rows == 6, "rows of patients are named by KEY.json: they stay"
    assert audit(options.out).proven
    again = forget(options.out, write_list(tmp_path, "P0"))
    assert (again.samples, again.version) == (0, 1)


@pytest.mark.parametrize("sampler", ["uniform", "balanced", "patient"])
def test_no_sampler_draws_them(options: PackOptions, tmp_path: Path, sampler: str) -> None:
    theirs = {int(key) for key in keys_of(options, "P0")}
    forget(options.out, write_list(tmp_path, "P0"))
    with radload.Loader(options.out, batch_size=2, size=16, sampler=sampler, threads=1, meta=["key"]) as loader:
        drawn = {int(key) for _ in range(3) for batch in loader for key in batch["key"]}
    with radload.open(options.out) as ds:
        assert drawn <= {int(s.key) for s in ds} and not drawn & theirs and drawn


def test_compact_removes_every_byte(options: PackOptions, tmp_path: Path) -> None:
    theirs, before = keys_of(options, "P0"), content(options.out)
    wanted = needles(options, "P0")
    cache = tmp_path / "cache"
    with radload.Loader(options.out, batch_size=2, size=16, threads=1, cache=cache, cache_bytes="2MB") as loader:
        list(loader)
    assert list(cache.iterdir()) and holders(options.out, wanted)
    forget(options.out, write_list(tmp_path, "P0"))
    shards = shards_of(options.out)
    done = compact(options.out, caches=[cache])
    assert (done.samples, done.version, done.removed, done.caches) == (6, 2, (0, 1), 1) and done.shards
    assert not [n for n in wanted if holders(options.out, [n])], "not in shards, index or labels"
    assert content(options.out) == {key: value for key, value in before.items() if key not in theirs}
    assert not list(cache.iterdir())
    private = options.out.with_name("out.private")
    assert not holders(private, [b"Doe_0"]) and holders(private, [b"Doe_1"])
    for name in ("crosswalk", "splits", "catalog"):
        rows = pq.read_table(private / f"{name}.parquet").to_pylist()
        assert rows and not any("P0" in (row["patient"], row.get("name")) for row in rows)
    now = shards_of(options.out)
    assert {name: digest for name, digest in now.items() if name in shards}.items() <= shards.items()
    assert len(now.keys() - shards.keys()) == done.shards, "a shard that was written anew has a new name"
    with radload.open(options.out) as ds:
        recorded = ds.index.table("shards").to_pylist()
        assert {row["name"]: row["sha256"].hex() for row in recorded} == now
    assert audit(options.out).proven
    assert compact(options.out).removed == ()
    assert forget(options.out, write_list(tmp_path, "P0")).samples == 0, "who is forgotten may be named again"


def test_caches_that_the_first_call_was_not_told_of_go_later(options: PackOptions, tmp_path: Path) -> None:
    """Also after another patient; the cache of the version that is left, and of another data set, stay."""
    caches = [tmp_path / "one", tmp_path / "two"]

    def fill(root: Path, place: Path) -> str:
        before = set(place.glob("*"))
        with radload.Loader(root, batch_size=2, size=16, threads=1, cache=place, cache_bytes="2MB") as loader:
            next(iter(loader))
            (new,) = set(place.glob("*")) - before
        return new.name

    old = fill(options.out, caches[0])
    shutil.copytree(caches[0], caches[1])
    other = PackOptions(options.source, tmp_path / "other", workers=0, split="60/20/20")
    pack(other)
    forget(options.out, write_list(tmp_path, "P0"))
    assert compact(options.out).caches == 0 and (caches[0] / old).exists()
    private = options.out.with_name("out.private")
    named = json.loads((private / "forgotten.json").read_text())["caches"]
    assert old.split(".")[0] in [one[:32] for one in named] and len(named) == 2, "of versions 0 and 1"
    left = {fill(root, tmp_path / str(place)) for place, root in enumerate((options.out, other.out))}
    for place in (0, 1):
        for path in (tmp_path / str(place)).iterdir():
            shutil.copy(path, caches[0])
    assert {path.name for path in caches[0].iterdir()} == {old} | left
    assert compact(options.out, caches=caches[:1]).caches == 1
    assert {path.name for path in caches[0].iterdir()} == left and (caches[1] / old).exists()
    forget(options.out, write_list(tmp_path, "P1"))
    done = compact(options.out, caches=caches[:1])
    assert done.caches == 1 and done.removed, "that of the version that held P1"
    assert compact(options.out, caches=caches).caches == 1 and not list(caches[1].iterdir())
    assert compact(options.out, caches=caches).caches == 0


def test_versions_that_do_not_hold_them_stay_where_their_shards_do(
    options: PackOptions, tmp_path: Path, write_series: WriteSeries
) -> None:
    first = content(options.out)
    write_series(options.source / "new", patient="P8", study="st8", series="s8")
    append(replace(options, labels=None))
    forget(options.out, write_list(tmp_path, "P8"))
    assert content(options.out) == content(options.out, 0) == first
    done = compact(options.out)
    assert done.removed == (1,) and done.shards == 0, "the shard held nobody else: it is gone"
    assert content(options.out) == content(options.out, 0) == first


def test_a_later_pack_leaves_them_out(options: PackOptions, tmp_path: Path, write_series: WriteSeries) -> None:
    theirs = keys_of(options, "P0")
    forget(options.out, write_list(tmp_path, "P0"))
    compact(options.out)
    write_series(options.source / "Doe_0/more", patient="P0", study="st0", series="more")
    write_series(options.source / "new", patient="P8", study="st8", series="s8")
    done = append(replace(options, labels=None))
    assert done.packed == 3 and done.rejected == {"withdrawn": 6 + 3}
    assert len(content(options.out)) == 24 - 6 + 3 and not theirs & content(options.out).keys()
    shutil.rmtree(options.out)  # packed anew with what is left of the private folder
    private = options.out.with_name("out.private")
    for path in private.iterdir():
        if path.name not in ("key", "forgotten.json"):
            path.unlink()
    done = pack(options)
    assert done.rejected == {"withdrawn": 9} and len(content(options.out)) == 24 - 6 + 3
    assert json.loads((private / "forgotten.json").read_text()).keys() == {"patients", "caches"}


def test_keys_are_never_given_twice(options: PackOptions, tmp_path: Path, write_series: WriteSeries) -> None:
    with radload.open(options.out) as ds:
        last = max(int(s.key) for s in ds)
    patient = next(f"P{n}" for n in range(6) if f"{last:012d}" in keys_of(options, f"P{n}"))
    forget(options.out, write_list(tmp_path, patient))
    compact(options.out)
    write_series(options.source / "new", patient="P8", study="st8", series="s8")
    names = set(shards_of(options.out))
    append(replace(options, labels=None))
    assert max(map(int, content(options.out))) == last + 3
    assert len(shards_of(options.out).keys() - names) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("P0\nP77\n", "line 2: names no patient"),
        ("\n", "is empty"),
        ("".join(f"P{n}\n" for n in range(6)), "all patients"),
    ],
)
def test_lists_that_cannot_be_right_change_nothing(options: PackOptions, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as error:
        forget(options.out, path)
    assert "P77" not in str(error.value), "a number is never said"
    assert radload.open(options.out).manifest.generation == 0
    assert not (options.out.with_name("out.private") / "forgotten.json").exists()


def test_a_damaged_list_or_shard_stops_everything(options: PackOptions, tmp_path: Path) -> None:
    forget(options.out, write_list(tmp_path, "P0"))
    with radload.open(options.out) as ds:
        names = ds.index.shard_names
    for name in names:
        path = options.out / name
        data = bytearray(path.read_bytes())
        data[700] ^= 1
        path.write_bytes(data)
    with pytest.raises(FormatError, match="is damaged"):
        compact(options.out)
    private = options.out.with_name("out.private")
    (private / "forgotten.json").write_text("{}")
    for call in (lambda: append(options), lambda: pack(replace(options, out=tmp_path / "other", private=private))):
        with pytest.raises(UsageError):
            call()


def test_pseudonyms_work_too(options: PackOptions, tmp_path: Path) -> None:
    with radload.open(options.out) as ds:
        pseudonym = ds.index.table("patients").column("pseudonym")[ds[0].meta["patient"]].as_py()
    assert forget(options.out, write_list(tmp_path, pseudonym)).samples in (3, 6)
    with radload.open(options.out) as ds:
        assert np.array_equal(np.sort(ds.index.rows_of_patient(0)), ds.index.rows_of_patient(0))
