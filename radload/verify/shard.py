"""One shard against its rows of the index: structure, checksums, KEY.json, decoding at every level, pixel hashes. Runs in a worker."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload import codecs
from radload.codecs import htj2k
from radload.codecs.checksum import prefix_crcs
from radload.codecs.codestream import level_ends
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.errors import CorruptSample
from radload.pack.sample import pixel_hash
from radload.pack.shard import BLOCK
from radload.pack.worker import Beat
from radload.verify.members import Member, Walk
from radload.verify.problem import RESTORE_INDEX, RESTORE_SHARD, Problem
from radload.verify.text import MAX_TEXT, Luts, differing

_TEXTS: Final = 1 << 20  # bytes of KEY.json that wait to be read
_ROOM: Final = 16 << 20  # values of an image for which memory is kept


@dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard and what the index says of it.

    Attributes:
        size, sha256: of the file; records: (n,) RECORD, in order of keys; masks: (n,) MASK_RECORD or None; first_row: of the index.
        samples, series, luts: Arrow streams of the rows that they refer to, series and tables from first_series and first_lut on.
        quick: only that the file has its size and its members stand where the index has them.
        skip: local row -> what it did to the worker that decoded it.
        levels: decode the lower levels of all samples. Otherwise of the first of each shape: what the others' levels need, the main
            header, the tile-part headers and the checksum of each prefix, is compared, and their full image decoded.
    """

    root: Path
    name: str
    size: int
    sha256: bytes
    first_row: int
    records: NDArray[np.void]
    samples: bytes
    series: bytes
    series_records: NDArray[np.void]
    first_series: int
    luts: bytes
    first_lut: int
    masks: NDArray[np.void] | None
    quick: bool
    skip: Mapping[int, str] = field(default_factory=dict)
    levels: bool = False


@dataclass(frozen=True, slots=True)
class ShardFindings:
    """What came of it.

    Attributes:
        bad: rows of the index whose pixels, mask or KEY.json are not what they should be; unlisted: members of no row.
        bytes: read.
    """

    problems: tuple[Problem, ...]
    bad: tuple[int, ...]
    unlisted: int
    bytes: int


def check_shard(task: ShardTask, beat: Beat) -> ShardFindings:
    """Check one shard. `beat` is told the local row of a sample before it is decoded."""
    check = _Check(task, beat)
    try:
        descriptor = os.open(task.root / task.name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # never wait for a pipe
    except OSError as error:
        check.lost(f"cannot be opened ({error.strerror})")
        return check.findings(0)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        check.lost("is no file")
        return check.findings(0)
    with os.fdopen(descriptor, "rb", buffering=1 << 20) as file:
        try:
            check.walk(file, status.st_size)
        except OSError as error:
            check.lost(f"cannot be read ({error.strerror})")
        return check.findings(status.st_size)


class _Check:
    """The walk through a shard, and what it has found so far."""

    def __init__(self, task: ShardTask, beat: Beat) -> None:
        self._task, self._beat = task, beat
        self._problems: list[Problem] = []
        self._bad: set[int] = set()  # local rows
        self._rows = {int(key): row for row, key in enumerate(task.records["key"])}
        self._seen: set[tuple[int, str]] = set()
        self._said: set[int] = set()  # rows with a line of their own
        self._unlisted = 0
        self._names: dict[int, Any] = {}  # the field "series" of KEY.json, by series
        self._shapes: set[tuple[int, ...]] = set()  # of which all levels were decoded
        self._texts: list[tuple[int, int, bytes]] = []  # row, series, KEY.json
        self._waiting = 0  # bytes of them
        self._room = np.empty(0, np.uint16)  # of the sample before: its pages need not be cleared anew
        self._samples: list[dict[str, Any]] = [] if task.quick else _rows_of(task.samples)
        self._series: list[dict[str, Any]] = [] if task.quick else _rows_of(task.series)
        self._luts = Luts([] if task.quick else _rows_of(task.luts), task.first_lut)

    def lost(self, what: str) -> None:
        """The shard as a whole is wrong, and all of its samples."""
        self._problems.append(Problem(self._task.name, None, f"{what}, with {len(self._task.records):,} samples"))
        self._bad.update(range(len(self._task.records)))

    def findings(self, size: int) -> ShardFindings:
        """All that was found."""
        rows = tuple(self._task.first_row + row for row in sorted(self._bad))
        return ShardFindings(tuple(self._problems), rows, self._unlisted, size)

    def walk(self, file: BinaryIO, size: int) -> None:
        """Read the shard from its first byte to its last."""
        task = self._task
        starts, owners = self._places()
        longest = int(task.records["length"].max(initial=0))
        walk = Walk(file, min(size, task.size), starts, max(longest, MAX_TEXT), content=not task.quick)
        damaged: set[int] = set()
        for item in walk:
            if isinstance(item, Member):
                self._member(item)
                continue
            if item.position not in starts and size < task.size:
                continue  # what is left of the member that the cut went through
            what = f"the tar header at byte {item.position:,} is damaged, or what stands there is no member of a shard"
            before = int(np.searchsorted(starts, item.position, "right"))
            if not before:  # no sample begins there or before
                self._problems.append(Problem(task.name, None, what))
                continue
            row = owners[before - 1]
            damaged.add(row)
            self._say(row, what)
        self._read_texts()
        if size == task.size or self._seen:
            self._missing(file, damaged, cut=size < task.size)
        listed = len({row for row, _ in self._seen})
        if not listed and self._unlisted:
            self._problems.clear()
            self.lost("holds other samples than the index says (is it another data set's, or another shard?)")
        elif size != task.size:
            kind = "is cut" if size < task.size else "has grown"
            lost = f"; {len(self._bad):,} of {len(task.records):,} samples are lost" if self._bad else ""
            self._problems.append(Problem(task.name, None, f"{kind}: {size:,} bytes instead of {task.size:,}{lost}"))
            if not listed:
                self._bad.update(range(len(task.records)))
        elif not walk.ended:
            self._problems.append(Problem(task.name, None, "does not end with two blocks of zeros"))
        if not task.quick and not self._problems and walk.sha256 != task.sha256:
            self._problems.append(
                Problem(
                    task.name,
                    None,
                    "has another SHA-256 than shards.arrow, though nothing that the index describes differs",
                )
            )

    def _places(self) -> tuple[list[int], list[int]]:
        """Where members should begin, ascending, and the local row of each."""
        places = []
        for row, record in enumerate(self._task.records):
            offset, length = int(record["offset"]), int(record["length"])
            places += [(offset - BLOCK, row), (offset + length + -length % BLOCK, row)]
            if self._task.masks is not None and int(self._task.masks[row]["length"]):
                places.append((int(self._task.masks[row]["offset"]) - BLOCK, row))
        places.sort()
        return [place for place, _ in places], [row for _, row in places]

    def _say(self, row: int, what: str, remedy: str = RESTORE_SHARD) -> None:
        self._problems.append(Problem(self._task.name, int(self._task.records[row]["key"]), what, remedy))
        self._said.add(row)

    def _wrong(self, row: int, what: str, remedy: str = RESTORE_SHARD) -> None:
        """The sample cannot be used."""
        self._bad.add(row)
        self._say(row, what, remedy)

    def _member(self, member: Member) -> None:
        row = self._rows.get(member.key)
        known = (
            ("json", "mask.npy", codecs.EXTENSIONS[Codec(int(self._task.records[row]["codec"]))])
            if row is not None
            else ()
        )
        if row is None or member.extension not in known:
            self._unlisted += 1
            return
        if (row, member.extension) in self._seen:
            self._wrong(row, f"KEY.{member.extension} stands there twice")
            return
        self._seen.add((row, member.extension))
        if not member.padded:
            self._say(row, f"the padding behind KEY.{member.extension} is not zero")
        if member.extension == "json":
            self._text(row, member)
        elif member.extension == "mask.npy":
            self._mask(row, member)
        else:
            self._pixels(row, member)

    def _pixels(self, row: int, member: Member) -> None:
        record = self._task.records[row]
        place = (int(record["offset"]), int(record["length"]))
        if place != (member.offset, member.size):
            self._wrong(
                row,
                f"{place[1]:,} bytes at {place[0]:,} by the index, {member.size:,} at {member.offset:,} in the shard",
                RESTORE_INDEX,
            )
        elif member.data is not None:
            self._content(row, member.data)

    def _content(self, row: int, data: bytes) -> None:
        """The bytes of a sample's pixels: checksums of all levels, then the pixels of all levels."""
        record = self._task.records[row]
        ends = [len(data), *record["level_end"][: int(record["levels"])].tolist()]
        try:
            crcs = prefix_crcs(data, ends)
        except ValueError:
            self._wrong(row, "the index has levels that end behind the pixels", RESTORE_INDEX)
            return
        if crcs[0] != int(record["level_crc"][0]):
            self._wrong(row, "the pixels have a wrong checksum (CRC-32C)")
            return
        wrong = [k for k, crc in enumerate(crcs) if crc != int(record["level_crc"][k])]
        if wrong:
            self._wrong(row, f"the index has a wrong end or checksum of level {wrong[0]}", RESTORE_INDEX)
            return
        if row in self._task.skip:
            self._wrong(row, self._task.skip[row])
            return
        self._beat(row, row)
        try:
            self._decode(row, data, ends)
        except CorruptSample as error:
            self._wrong(row, str(error).partition(":")[0], RESTORE_INDEX)
        except MemoryError:
            self._wrong(row, "decoding takes more memory than a worker may have", "give fewer --workers more --memory")
        self._beat(-1, row + 1)

    def _decode(self, row: int, data: bytes, ends: list[int]) -> None:
        record = self._task.records[row]
        size = (int(record["rows"]), int(record["cols"]))
        shape = size if int(record["channels"]) == 1 else (*size, int(record["channels"]))
        codec, dtype = Codec(int(record["codec"])), np.dtype("<" + STORED_DTYPES[int(record["dtype"])])
        if codec == Codec.HTJ2K and level_ends(data) != tuple(ends[1:]):
            raise CorruptSample("the index has other ends of levels than the codestream")
        out = self._out(shape)
        stored = codecs.decode_stored(data, codec, bias=int(record["bias"]), dtype=dtype, shape=shape, out=out)
        if pixel_hash(stored) != self._samples[row]["pixel_hash"]:
            raise CorruptSample("the pixels are not those of pixel_hash in samples.arrow")
        if not self._task.levels and shape in self._shapes:
            return
        self._shapes.add(shape)
        for level in range(1, int(record["levels"]) + 1):
            htj2k.decode(memoryview(data)[: ends[level]], level, shape=shape)

    def _out(self, shape: tuple[int, ...]) -> NDArray[np.uint16] | None:
        """Memory to decode to; None for what the index says to be large, which the codestream may not be."""
        values = math.prod(shape)
        if values > _ROOM:
            return None
        if values > len(self._room):
            self._room = np.empty(values, np.uint16)
        return self._room[:values].reshape(shape)

    def _mask(self, row: int, member: Member) -> None:
        masks = self._task.masks
        expected = (int(masks[row]["offset"]), int(masks[row]["length"])) if masks is not None else (0, 0)
        if expected != (member.offset, member.size) or masks is None:
            self._wrong(row, "its mask is not where the index has it", RESTORE_INDEX)
        elif member.data is not None:
            record = self._task.records[row]
            try:
                if codecs.crc32c(member.data) != int(masks[row]["crc"]):
                    raise CorruptSample("the mask has a wrong checksum (CRC-32C)")
                codecs.decode_mask(member.data, (int(record["rows"]), int(record["cols"])))
            except CorruptSample as error:
                self._wrong(row, str(error).partition(":")[0])

    def _text(self, row: int, member: Member) -> None:
        if self._task.quick:
            return
        number = int(self._task.records[row]["series"]) - self._task.first_series
        if member.data is None or not 0 <= number < len(self._series):
            self._wrong(row, "KEY.json is too large")
            return
        self._texts.append((row, number, member.data))
        self._waiting += len(member.data)
        if self._waiting > _TEXTS:
            self._read_texts()

    def _read_texts(self) -> None:
        """KEY.json of many samples, one after the other: between two images each took three times as long."""
        for row, number, text in self._texts:
            of_series = self._task.series_records[number]
            said = differing(
                text,
                self._task.records[row],
                self._samples[row],
                self._series[number],
                of_series,
                self._luts,
                self._names,
            )
            if said is not None:
                self._wrong(row, f"KEY.json {said}")
        self._texts.clear()
        self._waiting = 0

    def _missing(self, file: BinaryIO, damaged: set[int], *, cut: bool) -> None:
        """Rows of which a member was not seen; behind a damaged header the pixels may be whole."""
        for row, record in enumerate(self._task.records):
            extension = codecs.EXTENSIONS[Codec(int(record["codec"]))]
            masks = self._task.masks
            wanted = [extension, "json"] + (["mask.npy"] if masks is not None and int(masks[row]["length"]) else [])
            gone = [name for name in wanted if (row, name) not in self._seen]
            if gone == [extension] and row in damaged and not self._task.quick:
                with suppress(OSError):
                    self._content(row, os.pread(file.fileno(), int(record["length"]), int(record["offset"])))
                continue
            if gone:
                self._bad.add(row)
                if row not in self._said and not cut:
                    self._wrong(row, f"KEY.{gone[0]} is missing")


def _rows_of(stream: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_stream(stream).read_all().to_pylist()
    return rows
