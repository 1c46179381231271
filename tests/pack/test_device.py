"""`--decode-device`: whatever decodes, refuses, fails or lies, the shards are those of the CPU, byte for byte."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest_pack import WriteDicom, shards_of
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from typer.testing import CliRunner

from radload.cli import app
from radload.codecs.nvimgcodec import HostFrames
from radload.codecs.verdicts import Verdicts
from radload.errors import UsageError
from radload.pack import PackOptions, ahead, device, options, pack
from radload.pack.device import Device, DevicePacker
from radload.pack.stages import Share, pack_share
from radload.pack.stages import plan as plan_pack
from radload.pack.worker import Limits
from radload.sources import NotAnImage, Refused, Slice, read
from radload.sources.dicom_codestreams import components
from radload.sources.open import coded_frames

J2K, HTJ2K, JPEG_LOSSLESS, JPEG_LS = (f"1.2.840.10008.1.2.4.{n}" for n in (90, 201, 70, 80))
LOSSY_J2K = "1.2.840.10008.1.2.4.91"


class Host:
    """Decodes as a device would, by imagecodecs. `change(i, stream, values)` may spoil what it made of the i-th stream."""

    name = "host"

    def __init__(self, change: Callable[[int, bytes, NDArray[Any]], NDArray[Any] | None] | None = None) -> None:
        self.change = change or (lambda i, stream, values: values)
        self.streams: list[bytes] = []
        self.batches = 0

    def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
        self.batches += 1
        found = []
        for stream in streams:
            syntax = J2K if stream[:2] == b"\xff\x4f" else JPEG_LOSSLESS
            values: NDArray[Any] | None
            try:
                values = components(stream, syntax, 1).copy()
            except (RuntimeError, ValueError):
                values = None
            found.append(None if values is None else self.change(len(self.streams), stream, values))
            self.streams.append(stream)
        return found


def compress(path: Path, syntax: str, spoil: Callable[[bytes], bytes] = bytes) -> None:
    """Rewrite a native file with its frames compressed."""
    image = pydicom.dcmread(path)
    values = image.pixel_array
    frames = values if values.ndim == 3 else values[None]
    encode: dict[str, Callable[[NDArray[Any]], bytes]] = {
        J2K: partial(imagecodecs.jpeg2k_encode, codecformat="j2k", reversible=True),
        LOSSY_J2K: partial(imagecodecs.jpeg2k_encode, codecformat="j2k", level=60),
        HTJ2K: imagecodecs.htj2k_encode,
        JPEG_LOSSLESS: imagecodecs.ljpeg_encode,
        JPEG_LS: imagecodecs.jpegls_encode,
    }
    image.PixelData = encapsulate([spoil(encode[syntax](frame)) for frame in frames])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = UID(syntax)
    image.save_as(path, enforce_file_format=True)


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """Six patients: J2K (unsigned, signed, 12 frames in a file), HTJ2K, lossless JPEG, JPEG-LS, lossy J2K, native; two broken streams."""
    root = tmp_path / "src"
    random = np.random.default_rng(5)

    def values(kind: str = "u2", frames: int = 0) -> NDArray[Any]:
        shape = (frames, 40, 36) if frames else (40, 36)
        return (np.cumsum(random.integers(-3, 4, shape), axis=-1) + (2000 if kind == "u2" else 0)).astype(kind)

    syntaxes = (J2K, J2K, HTJ2K, JPEG_LOSSLESS, JPEG_LS, LOSSY_J2K)
    for number, syntax in enumerate(syntaxes):
        for place in range(5):
            path = root / f"{number}/{place}.dcm"
            kind = "i2" if number == 1 else "u2"
            write_dicom(path, values(kind), patient=f"P{number}", series=f"s{number}", study=f"t{number}", place=place)
            spoil: Callable[[bytes], bytes] = bytes
            if number == 0 and place == 2:
                spoil = lambda stream: stream[:60] + bytes(40) + stream[-2:]  # noqa: E731
            elif number == 2 and place == 3:
                spoil = lambda stream: stream[: len(stream) // 2]  # noqa: E731
            compress(path, syntax, spoil)
    many = root / "6/clip.dcm"
    write_dicom(many, values()[:, :], patient="P6", series="s6", study="t6")
    image = pydicom.dcmread(many)
    clip = values("u2", 12)
    image.NumberOfFrames, image.PixelData = 12, clip.tobytes()
    image.save_as(many, enforce_file_format=True)
    compress(many, J2K)
    write_dicom(root / "7/native.dcm", values(), patient="P7", series="s7", study="t7")
    return root


@pytest.fixture
def expected(source: Path, tmp_path: Path) -> dict[str, str]:
    pack(PackOptions(source, tmp_path / "plain", workers=0))
    return shards_of(tmp_path / "plain")


def packed(
    source: Path,
    out: Path,
    decoder: Host | HostFrames,
    monkeypatch: pytest.MonkeyPatch,
    verdicts: Verdicts | None = None,
    **more: Any,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Shards and notes of a pack with a device that is `decoder`."""
    found = Device(DevicePacker(lambda: decoder, lambda: verdicts or Verdicts(None, "")))
    with monkeypatch.context() as patch:
        patch.setattr("radload.pack.flow.find_device", lambda name: found)
        summary = pack(PackOptions(source, out, workers=0, **more))
    return shards_of(out), summary.notes


@pytest.mark.parametrize("frames", [1, 3, 64])
def test_the_same_shards_from_a_device(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    """Batches of any size; only lossless streams that end properly are given away, each once."""
    monkeypatch.setattr(ahead, "BATCH_FRAMES", frames)
    host = Host()
    shards, notes = packed(source, tmp_path / "out", host, monkeypatch)
    assert shards == expected
    streams = 5 + 5 + 4 + 5 + 12  # J2K, signed, HTJ2K without the cut one, lossless JPEG, the clip
    assert len(host.streams) == len(set(host.streams)) == streams
    assert host.batches == (streams if frames == 1 else host.batches) and host.batches < streams / frames + 8
    assert "the GPU decoded 30 frames" in notes  # all but the broken one


def test_nvimgcodec_on_the_host(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decoder itself, by its CPU backends: they refuse signed streams and lossless JPEG, which costs nothing but time."""
    pytest.importorskip("nvidia.nvimgcodec", reason="nvImageCodec is not installed")
    shards, notes = packed(source, tmp_path / "out", HostFrames(None), monkeypatch)
    assert shards == expected
    assert "the GPU decoded 20 frames" in notes  # J2K but the broken one, HTJ2K but the cut one, the clip


def test_wrong_bits_are_found_in_the_first_batch(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of one image: that transfer syntax is the CPU's from then on, with one note; the others go on."""

    def change(i: int, stream: bytes, values: NDArray[Any]) -> NDArray[Any]:
        if stream[:2] != b"\xff\x4f":
            values[3, 4] ^= 1
        return values

    verdicts = Verdicts(tmp_path / "cache/decoders.json", "machine")
    shards, notes = packed(source, tmp_path / "out", Host(change), monkeypatch, verdicts)
    assert shards == expected
    assert [note for note in notes if "as the CPU does" in note] == [
        f"the GPU does not decode {UID(JPEG_LOSSLESS).name} as the CPU does (values differ): the CPU decoded it"
    ]
    honest = Host()
    shards, notes = packed(source, tmp_path / "again", honest, monkeypatch, verdicts)
    assert shards == expected
    assert not any(stream[:2] != b"\xff\x4f" for stream in honest.streams), "what was wrong once is not asked again"
    assert any("found on this machine before" in note for note in notes)


@pytest.mark.parametrize("known", [False, True])
def test_wrong_bits_later_in_a_shard_pack_it_again(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """A decoder that is right at first and then gives zeros: what it has given to this shard before is not believed either."""
    monkeypatch.setattr(ahead, "BATCH_FRAMES", 2)
    wrong: set[int] = set()

    def change(i: int, stream: bytes, values: NDArray[Any]) -> NDArray[Any]:
        if i % 7 == 3:  # within a batch, not its first
            wrong.add(i)
            return np.zeros_like(values)
        return values

    verdicts = Verdicts(tmp_path / "decoders.json", "m")
    if known:
        for kind in (f"{J2K} 16 bits 1", f"{J2K} signed 16 bits 1", f"{HTJ2K} 16 bits 1", f"{JPEG_LOSSLESS} 16 bits 1"):
            verdicts.note(f"host {kind}", True)
    shards, notes = packed(source, tmp_path / "out", Host(change), monkeypatch, verdicts)
    assert shards == expected and wrong
    assert any("does not decode" in note for note in notes)


def test_without_the_guard_wrong_bits_would_be_packed(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail."""
    monkeypatch.setattr(ahead, "_difference", lambda values, expected: None)
    shards, _ = packed(source, tmp_path / "out", Host(lambda i, s, v: v ^ 1), monkeypatch)
    assert shards.keys() == expected.keys() and shards != expected


@pytest.mark.parametrize("remembers", [False, True])
def test_a_known_kind_is_compared_once_per_shard(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    """Where nothing can be remembered, a kind is known from its first batch to the end of the run."""
    looked: list[str] = []
    by_cpu = ahead._by_cpu

    def count(one: ahead.Coded) -> NDArray[Any] | None:
        looked.append(one.kind)
        return by_cpu(one)

    monkeypatch.setattr(ahead, "_by_cpu", count)
    verdicts = Verdicts(tmp_path / "decoders.json" if remembers else None, "m")
    packed(source, tmp_path / "first", Host(), monkeypatch, verdicts, shard_size=0.005)
    first = len(looked)
    looked.clear()
    shards, _ = packed(source, tmp_path / "second", Host(), monkeypatch, verdicts, shard_size=0.005)
    if remembers:
        assert first >= 20, "at first use, all of the first batch of a kind"
        assert 5 <= len(looked) <= len(shards), "then one of each kind in a shard"
    else:
        assert len(looked) == first < 31


def test_a_damaged_stream_condemns_no_decoder(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the CPU refuses and the device takes: its refusal stands, and the others of its kind are used."""

    class Lenient(Host):
        def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
            found = super().decode(streams)
            return [np.full((40, 36), 7, np.uint16) if values is None else values for values in found]

    shards, notes = packed(source, tmp_path / "out", Lenient(), monkeypatch)
    assert shards == expected
    assert "the GPU decoded 30 frames" in notes and not any("does not decode" in note for note in notes)


def test_a_device_that_fails_or_refuses(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Host):
        def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
            if self.batches >= 1:
                self.batches += 1
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().decode(streams)

    monkeypatch.setattr(ahead, "BATCH_FRAMES", 2)
    failing = Failing()
    shards, notes = packed(source, tmp_path / "late", failing, monkeypatch)
    assert shards == expected and failing.batches == 4, "after three failures in a row it is not asked again"
    assert any("failed 3 times in a row, RuntimeError" in note for note in notes)
    refusing = Host(lambda i, stream, values: None)
    shards, notes = packed(source, tmp_path / "refuses", refusing, monkeypatch)
    assert shards == expected and "the GPU decoded 0 frames" in notes


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_a_device_that_kills_its_worker_costs_no_file(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    found = Device(DevicePacker(partial(_deadly_decoder, how), _no_verdicts))
    monkeypatch.setattr("radload.pack.flow.find_device", lambda name: found)
    summary = pack(PackOptions(source, tmp_path / "out", workers=1, timeout=3))
    assert shards_of(tmp_path / "out") == expected
    assert not {"timeout", "decoder-crashed"} & summary.rejected.keys()
    word = "hung" if how == "hang" else "ended"
    assert any(f"a worker process {word} in it" in note for note in summary.notes)


class _Killer(Host):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
        if self.how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(3600)
        return []


def _deadly_decoder(how: str) -> Host:
    return _Killer(how)


def _no_verdicts() -> Verdicts:
    return Verdicts(None, "")


def test_a_decoder_that_cannot_be_opened(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed() -> Host:
        raise RuntimeError("out of memory")

    found = Device(DevicePacker(closed, _no_verdicts))
    monkeypatch.setattr("radload.pack.flow.find_device", lambda name: found)
    summary = pack(PackOptions(source, tmp_path / "out", workers=0))
    assert shards_of(tmp_path / "out") == expected
    assert any("cannot be opened, RuntimeError" in note for note in summary.notes)


def test_a_share_of_a_plan(
    source: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_pack(PackOptions(source, tmp_path / "out", workers=0))
    found = Device(DevicePacker(Host, _no_verdicts))
    monkeypatch.setattr("radload.pack.stages.find_device", lambda name: found if name == "cuda" else None)
    done = pack_share(tmp_path / "out", None, Share(0, 1), Limits(), 0, None, "cuda")
    assert shards_of(tmp_path / "out") == expected and "the GPU decoded 30 frames" in done.notes


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(options, "unavailable", lambda: "no NVIDIA driver is installed: install one")
    yield


@pytest.mark.usefixtures("no_driver")
@pytest.mark.parametrize("more", [[], ["--job", "0/1"]])
def test_without_a_gpu_it_says_so(source: Path, tmp_path: Path, more: list[str]) -> None:
    arguments = ["pack", "--out", str(tmp_path / "out"), "--decode-device", "cuda", *more]
    result = CliRunner().invoke(app, arguments + ([] if more else ["--src", str(source)]))
    assert isinstance(result.exception, UsageError) and not (tmp_path / "out").exists()
    assert str(result.exception) == (
        "--decode-device cuda cannot be used: no NVIDIA driver is installed: install one, or leave it out"
    )


def test_what_is_no_device(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--decode-device tpu is unknown: choose one of cpu, cuda"):
        pack(PackOptions(source, tmp_path / "out", decode_device="tpu"))
    with pytest.raises(UsageError, match="does not go with --scheduler"):
        pack(PackOptions(source, tmp_path / "out", decode_device="cuda", scheduler="tcp://host:1"))
    assert device.find_device("cpu") is None


@pytest.mark.parametrize("spoilt", [False, True])
def test_real_files_read_the_same(shared_data: Path, spoilt: bool) -> None:
    """Signed, 1, 8, 10, 12, 14 and 16 bits, colour, clips, damaged: what nvImageCodec makes of them is the CPU's, or is not used."""
    pytest.importorskip("nvidia.nvimgcodec", reason="nvImageCodec is not installed")
    decoder: Host | HostFrames = Host(lambda i, stream, values: np.roll(values, 1)) if spoilt else HostFrames(None)
    kinds, used = set(), 0
    for folder in ("syntaxes", "multiframe", "photometric", "broken"):
        for path in sorted(one for one in (shared_data / folder).rglob("*") if one.is_file()):
            coded = []
            with suppress(Refused, NotAnImage):
                coded = [
                    ahead.Coded(stream, kind, int(kind[-1]), 0)
                    for frame, stream, kind in coded_frames(path)
                    if frame < 2 and len(stream) < 1 << 19
                ]
            if not coded:
                continue
            kinds.update(one.kind for one in coded)
            held = ahead.DeviceFrames(decoder, Verdicts(None, "")).decode(coded)
            used += len(held)
            assert outcome(path, None) == outcome(path, held.get), path.name
    assert len(kinds) >= 9 and (used == 0 if spoilt else used >= 12)


def outcome(path: Path, find: Any) -> Any:
    """The first frames of a file, or why there are none."""
    try:
        return [
            (item.frame, item.stored.dtype.str, item.stored.tobytes(), item.photometric)
            if isinstance(item, Slice)
            else item[1].code
            for item in islice(read(path, ahead=find), 2)
        ]
    except Refused as refused:
        return refused.code


def test_of_a_clip_only_chosen_frames_are_looked_at(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies behind the last of them is not read, and what is left out is not decoded."""
    chosen: dict[str, Any] = {"frames": "central:3"}
    looked: list[int] = []

    def count(path: Path) -> Iterator[tuple[int, bytes, str]]:
        for frame in coded_frames(path):
            if path.name == "clip.dcm":
                looked.append(frame[0])
            yield frame

    monkeypatch.setattr(ahead, "coded_frames", count)
    pack(PackOptions(source, tmp_path / "plain", workers=0, **chosen))
    host = Host()
    shards, _ = packed(source, tmp_path / "out", host, monkeypatch, **chosen)
    assert shards == shards_of(tmp_path / "plain")
    assert len(host.streams) == 19 + 3
    assert looked[-1] < 11 and looked == list(range(len(looked))), "up to the first that is not wanted"
