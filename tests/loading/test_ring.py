"""A slot's memory is used again only when nothing refers to it, and the ring grows for those who keep batches."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import torch

from radload.loading.ring import Layout, Ring, Slot, map_shared

FIELDS = {"image": ("<f4", (2, 3, 4)), "rows": ("<i8", (2,)), "valid": ("?", (2,))}


def _ring(in_flight: int = 1) -> Ring:
    return Ring(Layout.of(FIELDS), in_flight)


def _take(ring: Ring) -> Slot:
    slot = ring.take()
    if slot is None:
        descriptor, _, _ = ring.grow()
        os.close(descriptor)
        slot = ring.take()
    assert slot is not None
    return slot


def test_layout_does_not_overlap_and_is_whole_pages() -> None:
    layout = Layout.of(FIELDS)
    arrays = layout.arrays(np.zeros(layout.size, np.uint8), 0)
    for value, array in enumerate(arrays.values(), 1):
        array[...] = value
    assert [a.flat[0] for a in arrays.values()] == [1, 2, True]
    assert [a.shape for a in arrays.values()] == [(2, 3, 4), (2,), (2,)]
    assert layout.size % os.sysconf("SC_PAGESIZE") == 0


def test_both_sides_see_the_same_memory() -> None:
    ring = _ring()
    descriptor, first, count = ring.grow()
    other = np.frombuffer(map_shared(descriptor, ring.layout.size * count), np.uint8)
    os.close(descriptor)
    slot = _take(ring)
    ring.layout.arrays(other, (slot.number - first) * ring.layout.size)["image"][...] = 7
    assert (ring.lend(slot, "image")[0] == 7).all()


def test_a_slot_waits_for_every_tensor_and_view() -> None:
    ring = _ring()
    slot = _take(ring)
    tensor = torch.from_numpy(ring.lend(slot, "image")[0])
    view = tensor[1:].permute(2, 0, 1).view(torch.int32)
    back = tensor.numpy()
    lent = []
    while (other := ring.take()) is not None:
        lent.append(other.number)
    assert slot.number not in lent
    del tensor
    assert ring.take() is None
    del view
    assert ring.take() is None, "an array made of the tensor still stands on it"
    del back
    gc.collect()
    again = ring.take()
    assert again is not None and again.number == slot.number


def test_it_grows_by_doubling_so_that_descriptors_stay_few() -> None:
    ring = _ring()
    gc.collect()  # what other tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [torch.from_numpy(ring.lend(_take(ring), "image")[0]).fill_(i) for i in range(500)]
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 12
    assert [int(t[0, 0, 0]) for t in kept] == list(range(500))
    assert len({t.data_ptr() for t in kept}) == 500


def test_spare_slots_give_their_memory_back() -> None:
    ring = _ring()
    kept = [torch.from_numpy(ring.lend(_take(ring), "image")[0]).fill_(1) for _ in range(64)]
    kept.clear()
    gc.collect()
    fresh = [ring.arrays(_take(ring))["image"] for _ in range(60)]
    assert sum(bool((f == 0).all()) for f in fresh) >= 55, "most slots came back as empty pages"


def test_the_shared_file_cannot_be_cut() -> None:
    ring = _ring()
    descriptor, _, _ = ring.grow()
    try:
        os.ftruncate(descriptor, 0)
    except PermissionError:
        return
    finally:
        os.close(descriptor)
    raise AssertionError("the file could be cut, which would kill its readers with SIGBUS")


def test_a_slot_of_two_arrays_is_free_when_both_are_gone() -> None:
    ring = Ring(Layout.of({"image": ("u1", (8,)), "mask": ("u1", (8,))}), 1)
    for first in (0, 1):
        slot = _take(ring)
        pair = [torch.from_numpy(a) for a in ring.lend(slot, "image", "mask")]
        free = len(ring._free)
        del pair[first]
        assert len(ring._free) == free
        pair.clear()
        assert len(ring._free) == free + 1
