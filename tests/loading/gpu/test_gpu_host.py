"""All of the GPU's sink on a device of the host whose streams do their work late: same pixels as on the CPU, whatever is decoded where."""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from host_device import POISON, HostDevice, HostEvent, libraries
from make import Image, Series, break_streams, ct_series, write_dataset

from radload.codecs.verdicts import Verdicts
from radload.errors import UsageError
from radload.loading import Augment, Loader
from radload.loading.gpu import calibrate, device
from radload.loading.gpu import sink as gpu
from radload.loading.gpu.decoder import NAMES
from radload.loading.gpu.guard import Guard
from radload.loading.ring import Ring, Slot

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

TOLERANCE = {
    "float32": 1e-4,
    "float16": 3e-3,
    "bfloat16": 2e-2,
}  # of (y - 0.5) / 0.25: both kernels are 1e-5 in y from the reference


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], ctypes.CDLL]:
    return libraries(tmp_path_factory.mktemp("fused"))


@pytest.fixture
def host(built: Callable[[int], ctypes.CDLL], monkeypatch: pytest.MonkeyPatch) -> Iterator[HostDevice]:
    """What device="cuda" means in a test; slots that are given back are spoilt at once."""
    found = HostDevice(built)
    monkeypatch.setattr(device, "open_device", lambda _: found)
    give_back = Ring.give_back

    def spoil(ring: Ring, slot: Slot) -> None:
        slot.memory[slot.start : slot.start + ring.layout.size] = POISON
        give_back(ring, slot)

    monkeypatch.setattr(Ring, "give_back", spoil)
    yield found
    found.finish()
    assert not found.pinned, "page locks that outlive the loader"


def compare(host: HostDevice, root: Path, epochs: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Batches of device="cuda" as of device="cpu", looked at only when all have been asked for."""
    plain = {k: v for k, v in options.items() if k not in ("decode", "static", "channels_last", "device_cache_bytes")}
    tolerance = TOLERANCE[options.get("dtype", "float32")]
    with (
        Loader(root, size=(20, 24), device="cpu", **plain) as want,
        Loader(root, size=(20, 24), device="cuda", **options) as loader,
    ):
        expected = [b for _ in range(epochs) for b in want]
        found = [b for _ in range(epochs) for b in loader]
        host.finish()
        assert len(expected) == len(found) > 0
        for one, other in zip(expected, found, strict=True):
            assert one.keys() == other.keys()
            for name, value in one.items():
                if name in ("image", "local"):
                    assert value.shape == other[name].shape and value.dtype == other[name].dtype
                    assert (value.float() - other[name].float()).abs().max() < tolerance, name
                elif isinstance(value, torch.Tensor):
                    assert torch.equal(value, other[name]), name
        assert loader.failures == want.failures
    return found


@pytest.mark.parametrize("decode", ["cpu", "gpu"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_pixels_however_late_the_streams(host: HostDevice, ct_data: Path, decode: str, seed: int) -> None:
    host.rng.seed(seed)
    compare(host, ct_data, epochs=3, batch_size=6, augment="default", decode=decode, prefetch=2)
    assert bool(sum(d.streams for d in host.decoders)) == (decode == "gpu")


class _Drops(deque[Any]):
    """A queue that keeps nothing."""

    def append(self, one: Any) -> None:
        return


def _mutate(host: HostDevice, name: str, patch: pytest.MonkeyPatch) -> None:
    """Take one of the things away that keep memory from being used too early."""
    wait = host.wait
    if name == "the kernel waits for no copy":
        patch.setattr(host, "wait", lambda stream, event: wait(stream, event) if stream == device.SIDE else None)
    elif name == "copies wait for no kernel":
        patch.setattr(host, "wait", lambda stream, event: wait(stream, event) if stream == device.MAIN else None)
    elif name == "slots go back at once":
        patch.setattr(HostEvent, "query", lambda self: True)
        patch.setattr(HostEvent, "synchronize", lambda self: None)
    else:
        patch.setattr(gpu, "deque", _Drops)


@pytest.mark.parametrize(
    ("mutant", "decode"),
    [
        ("the kernel waits for no copy", "cpu"),
        ("copies wait for no kernel", "cpu"),
        ("slots go back at once", "cpu"),
        ("decoded images are dropped at once", "gpu"),
    ],
)
def test_the_host_device_finds_memory_that_is_used_too_early(
    host: HostDevice, ct_data: Path, mutant: str, decode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests of this file can fail: each safeguard that is taken away shows in the pixels."""
    with monkeypatch.context() as patch:
        _mutate(host, mutant, patch)
        with pytest.raises(AssertionError, match="image"):
            compare(host, ct_data, epochs=6, batch_size=6, decode=decode, prefetch=2)


@pytest.mark.parametrize(
    ("decode", "dtype", "channels_last"),
    [("gpu", "float16", False), ("gpu", "bfloat16", True), ("cpu", "float16", True)],
)
def test_types_and_layouts(host: HostDevice, mixed_data: Path, decode: str, dtype: str, channels_last: bool) -> None:
    """MR, colour (always decoded on the CPU) and CT; every augmentation at once."""
    augment = Augment(rotate=20, gamma=0.3, noise=0.05)
    found = compare(
        host, mixed_data, batch_size=4, augment=augment, decode=decode, dtype=dtype, channels_last=channels_last
    )  # fmt: skip
    form = torch.channels_last if channels_last else torch.contiguous_format
    assert all(b["image"].is_contiguous(memory_format=form) for b in found)


@pytest.mark.parametrize("channels_last", [False, True])
def test_views_neighbours_and_padding(host: HostDevice, ct_data: Path, channels_last: bool) -> None:
    crops: dict[str, Any] = {"augment": "default", "views": 2, "local_views": 2, "local_size": 16}
    compare(host, ct_data, batch_size=5, decode="gpu", channels_last=channels_last, **crops)
    compare(host, ct_data, batch_size=4, decode="cpu", neighbours=1, channels_last=channels_last, **crops)
    compare(host, ct_data, batch_size=4, decode="gpu", split="val", shuffle=False, drop_last=False, neighbours=1)


def test_masks(host: HostDevice, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [
        Image(rng.integers(0, 900, (40, 50)).astype(np.int16), mask=rng.integers(0, 4, (40, 50)).astype(np.uint8))
        for _ in range(12)
    ]
    root = write_dataset(tmp_path / "d", [Series(images, "MR")])
    compare(host, root, epochs=2, batch_size=4, masks=True, augment="default", views=2, decode="gpu")


@pytest.mark.parametrize("codec", ["raw", "htj2k"])
def test_raw_members_and_tables(host: HostDevice, tmp_path: Path, codec: str) -> None:
    """Raw members go up as they are, in every type; a file's own table follows in the batch's pool."""
    rng = np.random.default_rng(1)
    table = (0, np.linspace(0, 65_535, 1000).tolist())
    kinds: list[Any] = [np.uint8, np.uint16, np.int16, *([np.float32] if codec == "raw" else [])]
    images = [Image(rng.integers(0, 120, (33, 47)).astype(kind), codec=codec) for kind in kinds * 4]
    images += [Image(rng.integers(0, 1000, (50, 40)).astype(np.uint16), voi_lut=table, codec=codec) for _ in range(4)]
    root = write_dataset(tmp_path / "d", [Series(images, "CR")])
    compare(host, root, batch_size=4, decode="gpu")
    assert bool(sum(d.streams for d in host.decoders)) == (codec == "htj2k")


def test_static_batches_keep_their_addresses(host: HostDevice, ct_data: Path) -> None:
    """Each batch replaces the one before, in MAIN's order: what was copied out of it there stays right."""
    with (
        Loader(ct_data, batch_size=6, size=20) as want,
        Loader(ct_data, batch_size=6, size=20, device="cuda", static=True, decode="cpu") as loader,
    ):
        addresses, copies = set(), []
        for batch in loader:
            addresses.add(tuple(batch[name].data_ptr() for name in ("image", "label", "index") if name in batch))
            host.finish()
            copies.append(batch["image"].clone())
        assert len(addresses) == 1
        for one, copy in zip(want, copies, strict=True):
            assert (one["image"] - copy).abs().max() < TOLERANCE["float32"]


def test_memory_is_bounded(host: HostDevice, ct_data: Path) -> None:
    """Streams that are far behind make the host wait: no slot, buffer or page lock more than in the first epochs."""
    with Loader(ct_data, batch_size=6, size=20, device="cuda", decode="cpu", prefetch=2) as loader:
        seen = []
        for _ in range(8):
            for _batch in loader:
                pass
            seen.append((loader._process.ring.slots, host.most_pinned))  # type: ignore[union-attr]
        assert seen[-1] == seen[1]
        assert seen[-1][0] <= 2 + 2  # in flight, and spare
    assert host.copied["pinned"] > 10 * host.copied["pageable"], "only what is not page-locked yet, and the norm"


def test_without_page_locks_it_says_so_once_and_goes_on(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host.pins = False
    compare(host, ct_data, batch_size=6, decode="cpu")
    assert caplog.text.count("could not be page-locked") == 1


def test_a_budget_for_page_locks(host: HostDevice, ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "PINNED_BYTES", 40_960)
    monkeypatch.setattr("radload.loading.gpu.pinned._STEP", 4096)
    compare(host, ct_data, epochs=2, batch_size=6, decode="cpu")
    assert 0 < host.most_pinned <= 40_960
    assert host.copied["pinned"] and host.copied["pageable"]


def broken(root: Path, rows: set[int]) -> None:
    """Make the streams of some rows undecodable under valid checksums."""
    break_streams(root, rows)


def test_a_broken_stream_under_a_valid_checksum(
    host: HostDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs its sample, as on the CPU: named, replaced by the same one; the decoder works on."""
    root = write_dataset(tmp_path / "d", [ct_series(i, 6) for i in range(4)])
    broken(root, {7, 15})
    compare(host, root, epochs=2, batch_size=6, decode="gpu", max_failures=10, augment="default")
    assert "refused a batch" in caplog.text
    assert host.decoders[0].streams > 24


def test_in_evaluation_a_broken_stream_is_masked(host: HostDevice, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", [ct_series(i, 6) for i in range(4)])
    broken(root, {7})
    found = compare(host, root, batch_size=6, decode="gpu", shuffle=False, drop_last=False, max_failures=10)
    assert torch.cat([b["valid"] for b in found]).sum() == 23


def test_a_decoder_that_refuses_everything_is_not_asked_again(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, data: Any) -> Any:
        raise RuntimeError("nothing today")

    monkeypatch.setattr("host_device.HostDecoder.decode", refuse)
    compare(host, ct_data, epochs=4, batch_size=6, decode="gpu")
    assert caplog.text.count("DALI has refused 3 batches in a row: it is not used from now on") == 1


def test_a_decoder_that_is_wrong_later_is_found_out(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the first sample of another shard: no wrong pixel comes out, one warning, and the CPU decodes from then on."""
    with (
        Loader(ct_data, batch_size=6, size=20) as want,
        Loader(ct_data, batch_size=6, size=20, device="cuda", decode="gpu") as loader,
    ):
        expected = [b["image"] for _ in range(3) for b in want]
        found = []
        for step, batch in enumerate(b for _ in range(3) for b in loader):
            found.append(batch["image"])
            if step == 1:
                loader._sink._decoding._guards["DALI"]._seen.clear()  # type: ignore[attr-defined]  # as if the next shard were new
                host.decoders[0].fault = lambda i, image: np.zeros_like(image)
        host.finish()
        assert all((a - b).abs().max() < TOLERANCE["float32"] for a, b in zip(expected, found, strict=True))
        assert loader._sink.share == 1.0
    assert caplog.text.count("does not decode HTJ2K as the CPU does") == 1


def test_what_a_wrong_decoder_has_left_behind_is_not_used(host: HostDevice, ct_data: Path) -> None:
    """Images that the device keeps go with the trust in its decoder, also those that batches under way refer to."""
    options: dict[str, Any] = {"batch_size": 6, "size": 20}
    with (
        Loader(ct_data, **options) as want,
        Loader(ct_data, device="cuda", decode="gpu", device_cache_bytes="1MiB", **options) as loader,
    ):
        expected, found = [b["image"] for _ in range(6) for b in want], []
        for step, batch in enumerate(b for _ in range(6) for b in loader):
            found.append(batch["image"])
            if step == 7:  # some are kept, some are not
                host.finish()
                loader._sink._kept.fill_(3)  # type: ignore[attr-defined]  # as if they had been decoded wrongly
                loader._sink._decoding.give_up()  # type: ignore[attr-defined]
        host.finish()
        errors = [float((a - b).abs().max()) for a, b in zip(expected, found, strict=True)]
        assert max(errors) < TOLERANCE["float32"], errors
        assert loader.cache_hits == 0


def test_a_decoder_that_is_wrong_by_one_bit_at_first(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = host.decoder

    def faulty(batch_size: int, name: str) -> Any:
        found = make(batch_size, name)
        found.fault = lambda i, image: image ^ np.uint16(i == 4)
        return found

    monkeypatch.setattr(host, "decoder", faulty)
    compare(host, ct_data, epochs=2, batch_size=6, decode="gpu")
    assert caplog.text.count("does not decode HTJ2K as the CPU does") == 1
    assert host.decoders[0].calls == 1


def test_auto_measures_and_says_what_it_chose(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "choose", lambda cpu, gpu: 0.5)
    with caplog.at_level(logging.INFO, "radload"):
        compare(host, ct_data, epochs=4, batch_size=6, decode="auto", augment="default")
    (line,) = [r.message for r in caplog.records if "decode=" in r.message]
    assert "slices/s on the CPU" in line and "the CPU decodes 50% of each batch" in line
    rounds, steps = calibrate._ROUNDS, 4 * 5
    streams = host.decoders[0].streams - rounds * 6
    assert steps * 3 < streams < steps * 6, "half of each batch, but for those that were under way"


def test_auto_without_dali_leaves_it_to_the_cpu(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> Any:
        raise UsageError("needs NVIDIA DALI")

    monkeypatch.setattr(host, "decoder", missing)
    with caplog.at_level(logging.INFO, "radload"):
        compare(host, ct_data, batch_size=6, decode="auto")
    assert "the CPU decodes (needs NVIDIA DALI)" in caplog.text
    with pytest.raises(UsageError, match="needs NVIDIA DALI"):
        Loader(ct_data, batch_size=6, device="cuda", decode="gpu")


def test_a_cache_on_the_host(host: HostDevice, ct_data: Path) -> None:
    compare(host, ct_data, epochs=2, batch_size=6, cache=True, augment="default")
    assert not host.decoders
    with pytest.raises(UsageError, match='leave decode="gpu" out, or the cache'):
        Loader(ct_data, batch_size=6, device="cuda", decode="gpu", cache=True)


@pytest.mark.parametrize("decode", ["cpu", "gpu"])
def test_images_that_the_device_keeps(
    host: HostDevice, ct_data: Path, decode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, or as many as fit: the same pixels; what is kept is neither read nor sent again."""
    with monkeypatch.context() as patch:
        patch.setattr("radload.loading.loader.parse_bytes", lambda size, name: 20_000)
        options: dict[str, Any] = {"batch_size": 6, "decode": decode, "device_cache_bytes": 1}
        compare(host, ct_data, epochs=4, augment="default", **options)
        with Loader(ct_data, size=20, device="cuda", **options) as loader:
            hits = [loader.cache_hits for _ in range(4) for _batch in loader]
        assert 0 < hits[-1] < 30
    compare(host, ct_data, epochs=4, batch_size=6, decode=decode, device_cache_bytes="1MiB", augment="default")
    options: dict[str, Any] = {"batch_size": 6, "size": 20, "device": "cuda", "decode": decode}
    with Loader(ct_data, device_cache_bytes="1MiB", **options) as loader:
        hits = [loader.cache_hits for _ in range(3) for _batch in loader]
        assert hits[4] == 0 and hits[-1] == 30, "one level each: all of them from the third epoch on"


def test_kept_images_of_batches_that_were_given_up(host: HostDevice, ct_data: Path) -> None:
    """A jump to another epoch leaves requests behind: their images were never copied, and are not taken for kept."""
    options: dict[str, Any] = {"batch_size": 6, "size": 20, "augment": "default"}
    with (
        Loader(ct_data, **options) as want,
        Loader(ct_data, device="cuda", decode="cpu", device_cache_bytes="1MiB", **options) as loader,
    ):
        for epoch in (0, 5, 2, 7, 2):
            for one in (want, loader):
                one.set_epoch(epoch)
            for step, (a, b) in enumerate(zip(want, loader, strict=True)):
                host.finish()
                assert (a["image"] - b["image"]).abs().max() < TOLERANCE["float32"]
                if step == 1:
                    break
    with pytest.raises(UsageError, match='device_cache_bytes goes with device="cuda"'):
        Loader(ct_data, batch_size=6, device_cache_bytes="1MiB")


@pytest.mark.parametrize(("cpu", "gpu", "share"), [(2, 1, 1.0), (1, 1, 1.0), (1, 5, 0.0), (1, 3, 0.25)])
def test_choice(cpu: float, gpu: float, share: float) -> None:
    assert calibrate.choose(cpu, gpu) == share


def both(host: HostDevice, monkeypatch: pytest.MonkeyPatch, rates: dict[str, float]) -> None:
    """Two decoders are installed, and measure as `rates` says."""
    pytest.importorskip("nvidia.nvimgcodec", reason="nvImageCodec is not installed")
    host.names = NAMES
    monkeypatch.setattr(calibrate, "_gpu_rate", lambda data, decoder: rates[decoder.name])
    monkeypatch.setattr(calibrate, "_cpu_rate", lambda data: 1.0)


@pytest.mark.parametrize("faster", NAMES)
def test_auto_takes_the_faster_of_two_decoders(
    host: HostDevice, ct_data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, faster: str
) -> None:
    """Both decode the first batch, under guard; from then on the faster one does, and the pixels are the same."""
    both(host, monkeypatch, {name: 2000.0 if name == faster else 1000.0 for name in NAMES})
    with caplog.at_level(logging.INFO, "radload"):
        compare(host, ct_data, epochs=3, batch_size=6, decode="auto", augment="default")
    assert {one.name: one.calls > 3 for one in host.decoders} == {name: name == faster for name in NAMES}
    assert all(one.calls >= 1 for one in host.decoders)
    (line,) = [r.message for r in caplog.records if "decode=" in r.message]
    assert f"2000 by {faster}" in line and "the GPU decodes" in line


def test_of_two_decoders_the_wrong_one_goes(
    host: HostDevice, ct_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other goes on; and the machine remembers, so that the next loader does not ask the wrong one at all."""
    both(host, monkeypatch, {NAMES[0]: 2000.0, NAMES[1]: 1000.0})
    host.verdicts = Verdicts(tmp_path / "decoders.json", "this machine")
    make = host.decoder

    def faulty(batch_size: int, name: str) -> Any:
        found = make(batch_size, name)
        if name == NAMES[0]:
            found.fault = lambda i, image: image ^ np.uint16(i == 4)
        return found

    monkeypatch.setattr(host, "decoder", faulty)
    compare(host, ct_data, epochs=2, batch_size=6, decode="auto")
    assert [one.calls > 1 for one in host.decoders] == [False, True]
    assert caplog.text.count("(DALI) does not decode HTJ2K as the CPU does: it is not used from now on") == 1
    assert [host.verdicts.of(f"{name} HTJ2K") for name in NAMES] == [False, True]
    looked: list[bool] = []
    differs = Guard.differs

    def look(guard: Guard, *arguments: Any) -> str | None:
        looked.append(guard.looks_at_all)
        return differs(guard, *arguments)

    monkeypatch.setattr(Guard, "differs", look)
    for decode in ("auto", "gpu"):
        caplog.clear()
        host.decoders.clear()
        compare(host, ct_data, batch_size=6, decode=decode)
        assert [one.name for one in host.decoders] == [NAMES[1]]
        assert caplog.text.count("DALI has not decoded HTJ2K as the CPU does on this machine before") == 1
    assert looked and not any(looked), "what was equal before is only sampled"


@pytest.mark.parametrize("decode", ["auto", "gpu"])
def test_a_machine_whose_decoders_are_known_to_be_wrong(
    host: HostDevice, ct_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, decode: str
) -> None:
    host.names = NAMES
    host.verdicts = Verdicts(tmp_path / "decoders.json", "this machine")
    for name in NAMES:
        host.verdicts.note(f"{name} HTJ2K", False)
    compare(host, ct_data, batch_size=6, decode=decode)
    assert not host.decoders and caplog.text.count("is not used") == len(NAMES)


def test_without_any_decoder_gpu_is_refused(host: HostDevice, ct_data: Path) -> None:
    host.names = ()
    with pytest.raises(UsageError, match="DALI is not installed"):
        Loader(ct_data, batch_size=6, device="cuda", decode="gpu")


def test_nvimgcodec_where_dali_is_missing(host: HostDevice, ct_data: Path, tmp_path: Path) -> None:
    """The second decoder alone: ragged levels, and a stream that it refuses under a valid checksum."""
    pytest.importorskip("nvidia.nvimgcodec", reason="nvImageCodec is not installed")
    host.names = NAMES[1:]
    compare(host, ct_data, epochs=2, batch_size=6, augment="default", decode="gpu")
    root = write_dataset(tmp_path / "d", [ct_series(i, 6) for i in range(4)])
    broken(root, {7})
    compare(host, root, epochs=2, batch_size=6, decode="gpu", max_failures=10)
    assert [one.name for one in host.decoders] == [NAMES[1]] * 2 and all(one.streams > 20 for one in host.decoders)
