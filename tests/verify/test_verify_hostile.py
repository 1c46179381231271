"""Shards and indexes that somebody made to do harm: refused in little time and memory, and nothing is opened or written elsewhere."""

from __future__ import annotations

import json
import os
import tarfile
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from verify_make import SHARD, change, look, opened, rewrite, task_of

import radload
from radload.codecs import crc32c
from radload.dataset.schema import RECORD
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, FormatError, RadloadError
from radload.pack.shard import header
from radload.verify import verify
from radload.verify.shard import ShardTask
from radload.verify.text import MAX_TEXT


def tar(*members: tarfile.TarInfo, content: bytes = b"x" * 600) -> bytes:
    """A tar of other people's making."""
    sink = BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, BytesIO(content))
    return sink.getvalue()


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


HOSTILE: dict[str, bytes] = {
    "a path upwards": tar(info("../../../tmp/radload-was-here")),
    "an absolute path": tar(info("/tmp/radload-was-here")),
    "a symbolic link": tar(info("000000000000.j2c", tarfile.SYMTYPE, "/etc/passwd")),
    "a hard link": tar(info("000000000000.j2c", tarfile.LNKTYPE, "../index/000000/records.bin")),
    "a device": tar(info("000000000000.j2c", tarfile.CHRTYPE)),
    "a pipe": tar(info("000000000000.j2c", tarfile.FIFOTYPE)),
    "a long name": tar(info("a" * 300 + "/000000000000.j2c")),
    "a size beyond the file": header("000000000000.j2c", 8**11 - 1),
    "a size of nothing, again and again": header("000000000000.json", 0) * 2000,
    "no tar at all": b"\x00\xff" * 4096,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused_and_nothing_is_written(data: Path, name: str) -> None:
    before = set(data.parent.rglob("*"))
    size = (data / SHARD).stat().st_size
    (data / SHARD).write_bytes(HOSTILE[name][:size].ljust(size, b"\0"))
    started = time.monotonic()
    for quick in (False, True):
        found = look(task_of(data, quick=quick))
        assert found.problems and len(found.problems) < 200
    assert time.monotonic() - started < 60
    assert set(data.parent.rglob("*")) == before and not Path("/tmp/radload-was-here").exists()


def with_text(data: Path, text: bytes) -> ShardTask:
    """The task of a shard whose first KEY.json is `text`, everything behind it moved."""
    task = task_of(data)
    shard = (data / SHARD).read_bytes()
    first = task.records[0]
    start = int(first["offset"]) + int(first["length"]) + -int(first["length"]) % 512
    old = int(shard[start + 124 : start + 135], 8)
    end = start + 512 + old + -old % 512
    member = header(f"{int(first['key']):012d}.json", len(text)) + text + bytes(-len(text) % 512)
    (data / SHARD).write_bytes(shard[:start] + member + shard[end:])
    return replace(task, size=(data / SHARD).stat().st_size)


BOMBS: dict[str, bytes] = {
    "brackets": b"[" * 4_000_000,
    "objects": b'{"a":' * 1_000_000,
    "a long number": b'{"key": ' + b"9" * 4_000_000 + b"}",
    "an exponent": b'{"slope": 1e999999999}',
    "not text": bytes(range(128, 256)) * 1000,
    "a list": b"[1, 2]",
    "the same name twice": b'{"key": 1, "key": 2}',
    "too large": b" " * (MAX_TEXT + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_json_bomb_is_a_finding(data: Path, name: str) -> None:
    task = with_text(data, BOMBS[name])
    started = time.monotonic()
    found = look(task)
    assert time.monotonic() - started < 60
    assert any("KEY.json" in problem.what for problem in found.problems), found.problems


def hostile_stream(data: Path, side: int) -> None:
    """The first sample says, in stream and index alike and with right checksums, that it has side x side pixels."""
    index = opened(data)
    row = int(np.flatnonzero((index.records["codec"] == 1) & (index.records["shard"] == 0))[0])
    record = index.records[row]
    with (data / SHARD).open("r+b") as file:
        file.seek(int(record["offset"]))
        member = bytearray(file.read(int(record["length"])))
        for at in (8, 12, 24, 28):  # SIZ: Xsiz, Ysiz, XTsiz, YTsiz
            member[at : at + 4] = side.to_bytes(4, "big")
        file.seek(int(record["offset"]))
        file.write(member)
    records = np.fromfile(index.folder / "records.bin", RECORD)
    records["rows"][row] = records["cols"][row] = side
    records["level_crc"][row] = [
        crc32c(bytes(member)),
        *[crc32c(bytes(member[:end])) for end in records["level_end"][row]],
    ]
    rewrite(data, "records.bin", records.tobytes())
    said = json.loads((index.folder / "segment.json").read_bytes())
    said["largest"]["train"] = [said["largest"]["train"][0], said["largest"]["train"][1], side * side]
    (index.folder / "segment.json").write_text(json.dumps(said))


@pytest.mark.parametrize("side", [9_000, 65_535])
def test_a_decompression_bomb_in_a_shard_is_a_finding(data: Path, side: int) -> None:
    """Some kilobytes that say 8.6 GB of pixels, with checksums that fit."""
    hostile_stream(data, side)
    started = time.monotonic()
    report = verify(data, workers=1)
    assert len(report.bad) == 1 and time.monotonic() - started < 60, report.problems
    if side > 10_000:
        with radload.open(data) as opened_data, pytest.raises(CorruptSample, match="more than"):
            _ = opened_data[report.bad[0]].stored


WILD: dict[str, tuple[str, int]] = {
    "an offset beyond any file": ("offset", (1 << 64) - 1),
    "an offset beyond a signed number": ("offset", 1 << 63),
    "an offset beyond the shard": ("offset", 1 << 40),
    "an offset in the middle": ("offset", 513),
    "a length of four gigabytes": ("length", (1 << 32) - 1),
    "a shard that is not there": ("shard", 1 << 31),
    "a series that is not there": ("series", 1 << 31),
    "no length": ("length", 0),
    "many levels": ("levels", 255),
    "many safe levels": ("safe_levels", 255),
    "a codec that is not there": ("codec", 99),
    "a type that is not there": ("dtype", 99),
    "many channels": ("channels", 200),
    "no rows": ("rows", 0),
    "a wide image": ("cols", 65_535),
}


@pytest.mark.parametrize("name", WILD)
def test_wild_numbers_in_an_index_end_as_sentences(data: Path, name: str) -> None:
    """With right checksums: random access raises what it raises for damage, verify names it; no crash, no endless wait."""
    field, value = WILD[name]
    change(data, "records.bin", RECORD, 1, field, value)
    assert not verify(data, workers=0).whole
    with radload.open(data) as found, pytest.raises((RadloadError, IndexError, ValueError, MemoryError, OverflowError)):
        sample = found[1]
        _ = sample.stored, sample.meta, sample.modality()
        if field in ("levels", "safe_levels"):
            raise ValueError("only the loader uses it")


@pytest.mark.parametrize("name", WILD)
def test_wild_numbers_in_an_index_never_end_the_loader_by_a_signal(data: Path, name: str) -> None:
    """Other samples come, or a sentence does; the sample itself never."""
    field, value = WILD[name]
    change(data, "records.bin", RECORD, 1, field, value)
    started, rows = time.monotonic(), []
    options = {"batch_size": 4, "size": 16, "threads": 1, "drop_last": False, "max_failures": 0.99, "shuffle": False}
    try:
        with radload.Loader(data, "train", **options) as loader:
            for batch in loader:
                rows += batch["index"][batch["valid"]].tolist()
    except (RadloadError, ValueError, IndexError) as error:
        assert "SIG" not in str(error) and "signal" not in str(error), error
    assert time.monotonic() - started < 60
    if field not in ("levels", "safe_levels", "series"):
        assert 1 not in rows


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../elsewhere.tar", "train/../../elsewhere.tar", "train/000000.tar\0", ""]
)
def test_an_index_does_not_lead_out_of_the_data_set(data: Path, name: str) -> None:
    table = opened(data).table("shards")
    names = [name, *table.column("name").to_pylist()[1:]]
    changed = table.set_column(0, table.schema.field(0), pa.array(names, pa.string()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(changed)
    rewrite(data, "shards.arrow", sink.getvalue().to_pybytes())
    with pytest.raises(FormatError, match="names a file that is no shard"):
        _ = opened(data).shard_names
    assert not verify(data, workers=0).whole
    with pytest.raises(FormatError, match="names a file that is no shard"):
        radload.open(data)


def test_a_shard_without_samples_is_looked_at_too(data: Path) -> None:
    """A row of shards.arrow of which no sample is, and a file that begins with no member: said, with no key to say it of."""
    task = task_of(data)
    for content in (b"\x00\xff" * 4096, bytes(8192), header("000000000000.json", 0) * 16, tar(info("elsewhere"))):
        (data / "train/000777.tar").write_bytes(content)
        for quick in (False, True):
            empty = replace(task, name="train/000777.tar", size=len(content), records=task.records[:0], quick=quick)
            found = look(replace(empty, masks=None if task.masks is None else task.masks[:0]))
            assert found.problems and not found.bad
            assert {(problem.shard, problem.key) for problem in found.problems} == {("train/000777.tar", None)}
    index = opened(data)
    table, sink = index.table("shards"), pa.BufferOutputStream()
    row = {**table.slice(0, 1).to_pylist()[0], "name": "train/000777.tar", "bytes": len(content), "samples": 0}
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(pa.concat_tables([table, pa.Table.from_pylist([row], table.schema)]))
    rewrite(data, "shards.arrow", sink.getvalue().to_pybytes())
    said = json.loads((index.folder / "segment.json").read_bytes())
    (index.folder / "segment.json").write_text(json.dumps({**said, "shards": said["shards"] + 1}))
    report = verify(data, workers=0)
    assert not report.bad and any(
        problem.shard == "train/000777.tar" and "is damaged" in problem.what for problem in report.problems
    ), report.problems


def test_a_shard_that_links_elsewhere_is_read_but_not_followed_by_writing(data: Path, tmp_path: Path) -> None:
    """Links to shards are used by people who keep them on several disks; a repair replaces the link, never what it leads to."""
    target = tmp_path / "elsewhere.tar"
    (data / SHARD).rename(target)
    (data / SHARD).symlink_to(target)
    assert verify(data, workers=0).whole
    content = bytearray(target.read_bytes())
    content[int(opened(data).records[0]["offset"]) + 100] ^= 1
    target.write_bytes(content)
    radload.verify.drop(data, verify(data, workers=0))
    assert target.read_bytes() == bytes(content) and verify(data, workers=0).whole


def test_the_reader_never_waits_for_a_pipe(data: Path) -> None:
    (data / SHARD).unlink()
    os.mkfifo(data / SHARD)
    index = opened(data)
    with ShardFiles(data, index.shard_names) as shards, pytest.raises((CorruptSample, FormatError)):
        shards.read(index.records[0])
