"""2.5D: a draw's channels are the slices beside it, of its own stack; which ones they are is a function of the index alone."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from make import Image, Series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_pixels import BONE, LUNG, SOFT, TOLERANCE, expected, settings
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.stacks import Stacks
from radload.errors import UsageError
from radload.loading import Loader, Mixture
from radload.loading.planning.augment import Augment
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.neighbours import Beside, Neighbours, Runs, beside, drawn_rows, rows_of
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.planning.views import Views

SIZE = (24, 20)
AUGMENT = Augment(flip=True, window_jitter=0.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
WINDOWS = [LUNG, SOFT, BONE]


def image(row: int, z: float | None, *, coronal: bool = False, shape: tuple[int, int] = (64, 64), **more: Any) -> Image:
    position = None if z is None else (0.0, z, 0.0) if coronal else (0.0, 0.0, z)
    orientation: Any = None if z is None else CORONAL if coronal else AXIAL
    return Image(
        ct_slice(row, *shape),
        intercept=-1024.0,
        position=position,
        orientation=orientation,
        spacing=(0.8, 1.3),
        **more,
    )


def all_series() -> list[Series]:
    """24 slices: an even stack; two phases; axial and coronal; a cine without positions; another stack of another split."""
    rows = iter(range(100))
    even = [image(next(rows), 2.0 * k, mask=np.full((64, 64), k + 1, np.uint8)) for k in range(7)]
    phases = [image(next(rows), float(z)) for z in (0, 1, 2, 0, 1, 2)]
    planes = [image(next(rows), float(z), shape=(60, 48)) for z in (0, 1, 2)]
    planes += [image(next(rows), float(z), coronal=True, shape=(60, 48)) for z in (8, 9)]
    cine = [image(next(rows), None, shape=(200, 160)) for _ in range(4)]
    lonely = [image(next(rows), 0.0)]
    val = [image(next(rows), 5.0 * k) for k in range(4)]
    return [
        Series(even, columns={"slice_spacing": 2.0}),
        Series(phases, columns={"phases": 2, "slice_spacing": 1.0}),
        Series(planes, columns={"slice_spacing": 1.0}),
        Series(cine),
        Series(lonely),
        Series(val, split="val", columns={"slice_spacing": 5.0}),
    ]


STACKS = [
    range(7),
    range(7, 10),
    range(10, 13),
    range(13, 16),
    range(16, 18),
    range(18, 22),
    range(22, 23),
    range(23, 27),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("neighbours") / "d", all_series())


@pytest.fixture(scope="module")
def images() -> list[Image]:
    return [one for series in all_series() for one in series.images]


def load(path: Path, split: str | None = "train", **changes: Any) -> Loader:
    options: dict[str, Any] = {"batch_size": 3, "size": SIZE, "threads": 2, "seed": 4, "neighbours": 1}
    return Loader(path, split, **(options | changes))


def by_hand(row: int, count: int) -> list[int]:
    """Neighbours by index, with repeated edges, from the list of stacks above."""
    stack = next(s for s in STACKS if row in s)
    return [min(max(row + k, stack.start), stack.stop - 1) for k in range(-count, count + 1)]


def check_pixels(
    batch: Any, positions: list[int], images: list[Image], planner: Planner, epoch: int, rows_of_draw: Any
) -> None:
    """Each channel is the reference's render of a slice, under the drawn slice's crop and flip."""
    for i, row in enumerate(batch["index"].tolist()):
        alone = planner.plan(np.array([row]), epoch, np.array([positions[i]]))
        for k, other in enumerate(rows_of_draw(row)):
            single = planner.plan(np.array([other]), epoch, np.array([positions[i]]))
            for name in ("top", "left", "height", "width", "flip"):
                assert single.samples[name][0] == alone.samples[name][0]
            want = expected(images[other], WINDOWS, single, 0, SIZE)
            found = batch["image"][i, 3 * k : 3 * k + 3].numpy()
            assert np.abs(found - want).max() <= TOLERANCE, (row, other)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(
    "mode", [{}, {"augment": AUGMENT}, {"augment": AUGMENT, "fit": "pad"}, {"augment": AUGMENT, "spacing": 1.5}]
)
def test_channels_are_the_slices_beside(data: Path, images: list[Image], count: int, mode: dict[str, Any]) -> None:
    spacing = mode.get("spacing")
    changed = mode if spacing is None else mode | {"fit": "pad", "spacing": (spacing, spacing)}
    planner = Planner(open_index(data, read_manifest(data)), settings(make_recipe(), SIZE, **changed))
    seen = []
    with load(data, neighbours=count, **mode) as loader:
        assert loader.channels == 3 * (2 * count + 1)
        for step, batch in enumerate(loader):
            assert batch["image"].shape == (3, loader.channels, *SIZE)
            check_pixels(batch, list(range(3 * step, 3 * step + 3)), images, planner, 0, lambda r: by_hand(r, count))
            seen += batch["index"].tolist()
    assert len(set(seen)) == len(seen) == 21


MILLIMETRES: list[tuple[float, int, int, list[int]]] = [
    (2.0, 1, 3, [2, 3, 4]), (4.0, 1, 3, [1, 3, 5]), (3.9, 1, 3, [1, 3, 5]), (3.0, 1, 3, [2, 3, 4]), (2.9, 2, 3, [0, 2, 3, 4, 6]),
    (0.1, 1, 3, [3, 3, 3]), (4.0, 2, 1, [0, 0, 1, 3, 5]), (900.0, 1, 3, [0, 3, 6]), (1.0, 1, 9, [8, 9, 9]), (1.0, 1, 10, [10, 10, 11]),
    (1.0, 1, 17, [16, 17, 17]), (7.0, 1, 19, [18, 19, 20]), (7.0, 1, 22, [22, 22, 22]), (10.0, 1, 24, [23, 24, 26]),
]  # fmt: skip


@pytest.mark.parametrize(("spacing", "count", "row", "want"), MILLIMETRES, ids=str)
def test_millimetres(data: Path, spacing: float, count: int, row: int, want: list[int]) -> None:
    """The nearest slice at the distance, the nearer one where two are as near; without positions by index; never of another stack."""
    index = open_index(data, read_manifest(data))
    found = Beside(index, Neighbours(count, spacing)).rows(np.array([row, 0, row]))
    assert found[0].tolist() == found[2].tolist() == want
    assert Beside(index, Neighbours(count)).rows(np.arange(27)).tolist() == [by_hand(r, count) for r in range(27)]


def test_millimetres_reach_the_pixels(data: Path, images: list[Image]) -> None:
    planner = Planner(open_index(data, read_manifest(data)), settings(make_recipe(), SIZE, augment=AUGMENT))
    index = open_index(data, read_manifest(data))
    rows = Beside(index, Neighbours(1, 3.9)).rows(np.arange(27))
    assert rows.tolist() != [by_hand(r, 1) for r in range(27)]
    with load(data, neighbour_spacing=3.9, augment=AUGMENT, epoch=3) as loader:
        for step, batch in enumerate(loader):
            check_pixels(batch, list(range(3 * step, 3 * step + 3)), images, planner, 3, lambda r: rows[r].tolist())


@given(
    st.lists(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=9), min_size=1, max_size=4),
    st.integers(1, 3),
    st.one_of(st.none(), st.floats(0.1, 9.0)),
)
def test_neighbours_by_definition(steps: list[list[float]], count: int, spacing: float | None) -> None:
    """Against a search through each stack, slice by slice."""
    number = np.repeat(np.arange(len(steps)), [len(s) for s in steps])
    along = np.concatenate([np.cumsum([0.0, *s[1:]]) for s in steps])
    rows, complete = beside(Stacks(number, along), Neighbours(count, spacing))
    for row in range(len(number)):
        mine = np.flatnonzero(number == number[row])
        assert set(rows[row].tolist()) <= set(mine.tolist()) and rows[row, count] == row
        for k, found in zip(range(-count, count + 1), rows[row], strict=True):
            if spacing is None:
                assert found == min(max(row + k, mine[0]), mine[-1])
            else:
                miss = np.abs(along[mine] - (along[row] + k * spacing))
                assert abs(along[found] - (along[row] + k * spacing)) <= miss.min() + 1e-5
        if spacing is None:
            assert complete[row] == (mine[0] <= row - count and row + count <= mine[-1])
        else:
            beyond = max(count * spacing - along[row], along[row] + count * spacing - along[mine[-1]])
            assert complete[row] == (beyond < spacing / 2 - min(0.01, spacing / 4))


WHOLE = {1: [1, 2, 3, 4, 5, 8, 11, 14, 19, 20], 2: [2, 3, 4], 3: [3]}  # rows of the training split with all neighbours


@pytest.mark.parametrize("count", [1, 2, 3])
def test_skip_leaves_draws_at_the_edges_out(data: Path, images: list[Image], count: int) -> None:
    planner = Planner(open_index(data, read_manifest(data)), settings(make_recipe(), SIZE, augment=AUGMENT))
    with load(data, neighbours=count, neighbour_edges="skip", batch_size=1, augment=AUGMENT) as loader:
        assert len(loader) == len(WHOLE[count])
        orders = []
        for epoch in range(2):
            batches = list(loader)
            orders.append([int(batch["index"][0]) for batch in batches])
            assert sorted(orders[-1]) == WHOLE[count]
            for position, batch in enumerate(batches):
                check_pixels(batch, [position], images, planner, epoch, lambda r: by_hand(r, count))
    assert count > 1 or orders[0] != orders[1]
    with load(
        data, neighbours=count, neighbour_edges="skip", batch_size=4, shuffle=False, drop_last=False, rank=1, world_size=2
    ) as loader, load(
        data, neighbours=count, neighbour_edges="skip", batch_size=4, shuffle=False, drop_last=False, rank=0, world_size=2
    ) as other:  # fmt: skip
        rows = [b["index"][b["valid"]].tolist() for pair in zip(other, loader, strict=True) for b in pair]
    assert [row for some in rows for row in some] == WHOLE[count]


def test_skip_by_millimetres(data: Path) -> None:
    index = open_index(data, read_manifest(data))
    drawn = drawn_rows(index, range(23), Neighbours(1, 4.0, "skip"))
    assert isinstance(drawn, Runs)
    assert rows_of(drawn, np.arange(len(drawn))).tolist() == [2, 3, 4, 19, 20], "slices of the cine go by index"
    assert [drawn[i] for i in range(len(drawn))] == [2, 3, 4, 19, 20]
    with pytest.raises(IndexError):
        drawn[5]
    assert rows_of(drawn_rows(index, range(23, 27), Neighbours(1)), np.array([0, 3])).tolist() == [23, 26]


def test_a_scan_in_pieces_is_the_scan(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from radload.loading.planning import neighbours

    index = open_index(data, read_manifest(data))
    for scan in (1, 6, 7, 8, 13, 14, 100):
        monkeypatch.setattr(neighbours, "_SCAN", scan)
        drawn = drawn_rows(index, range(23), Neighbours(1, None, "skip"))
        assert rows_of(drawn, np.arange(len(drawn))).tolist() == WHOLE[1]
        every = drawn_rows(index, range(27), Neighbours(1, None, "skip"))
        assert rows_of(every, np.arange(len(every))).tolist() == [*WHOLE[1], 24, 25]


def test_masks_are_the_drawn_slice_s(data: Path) -> None:
    with load(data, masks=True, shuffle=False, batch_size=7) as loader:
        batch = next(iter(loader))
    assert batch["mask"].shape == (7, *SIZE)
    assert [set(mask.unique().tolist()) for mask in batch["mask"]] == [{k + 1} for k in range(7)]


def test_views_of_neighbours(data: Path, images: list[Image]) -> None:
    """Both together: every view has all slices, under one crop per view."""
    index = open_index(data, read_manifest(data))
    views = Views(2, 1, local_size=(8, 8))
    planner = Planner(index, settings(make_recipe(), SIZE, augment=AUGMENT, views=views, neighbours=Neighbours(1)))
    with load(data, augment=AUGMENT, views=2, local_views=1, local_size=8) as loader:
        batch = next(iter(loader))
    assert batch["image"].shape == (2, 3, 9, *SIZE) and batch["local"].shape == (1, 3, 9, 8, 8)
    plan = plan_draws(planner, batch["index"].numpy(), 0, np.arange(3))
    assert plan.slices == 3 and len(plan.rows) == 9 and len(plan.further) == 2
    for view, part in enumerate((plan, *plan.further)):
        assert np.array_equal(part.levels, plan.levels)
        for entry in range(9):
            target = batch["image"][view] if view < 2 else batch["local"][0]
            found = target[entry // 3, entry % 3 * 3 : entry % 3 * 3 + 3].numpy()
            want = expected(images[int(plan.rows[entry])], WINDOWS, part, entry, SIZE if view < 2 else (8, 8))
            assert np.abs(found - want).max() <= TOLERANCE


def test_neither_threads_nor_ranks_nor_batch_size_change_a_draw(data: Path) -> None:
    options: dict[str, Any] = {"neighbour_edges": "skip", "augment": AUGMENT, "dtype": "bfloat16", "epoch": 1}
    with (
        load(data, batch_size=4, threads=3, **options) as whole,
        load(data, batch_size=2, rank=0, world_size=2, threads=1, **options) as first,
        load(data, batch_size=2, rank=1, world_size=2, prefetch=1, **options) as second,
    ):
        assert len(whole) == len(first) == 2
        for a, b, c in zip(whole, first, second, strict=True):
            for name in ("image", "index"):
                assert torch.equal(a[name], torch.cat([b[name], c[name]]))


def test_resume_and_states_of_other_neighbours(data: Path) -> None:
    options: dict[str, Any] = {"neighbour_edges": "skip", "augment": AUGMENT, "batch_size": 2}
    with load(data, **options) as loader:
        run, states = [], [loader.state_dict()]
        for _ in range(2):
            for batch in loader:
                run.append(batch)
                states.append(json.loads(json.dumps(loader.state_dict())))
    for start in (0, 2, 5, 7):
        with load(data, **options) as resumed:
            resumed.load_state_dict(states[start])
            assert torch.equal(next(iter(resumed))["image"], run[start]["image"])
    repeat = {"neighbour_edges": "repeat"}
    for other in ({"neighbours": 0} | repeat, {"neighbour_spacing": 2.0}, repeat, {"neighbours": 2, "batch_size": 1}):
        with (
            load(data, **(options | other)) as loader,
            pytest.raises(UsageError, match=r"neighbours|samples|global_batch"),
        ):
            loader.load_state_dict(states[1])


def test_a_damaged_neighbour_costs_the_draw(data: Path, images: list[Image], tmp_path: Path) -> None:
    """It is replaced as a whole, so no batch holds a slice that is not what its place says; the slice that is bad is named."""
    root = tmp_path / "damaged"
    shutil.copytree(data, root)
    flip_byte(root, 3)
    planner = Planner(open_index(data, read_manifest(data)), settings(make_recipe(), SIZE, resolution="full"))
    with load(root, resolution="full", max_failures=20) as loader:
        batches = list(loader)
        assert {f.key for f in loader.failures} == {"000000000003"} and len(loader.failures) >= 3
    assert not {2, 3, 4} & set(torch.cat([b["index"] for b in batches]).tolist())
    for step, batch in enumerate(batches):
        check_pixels(batch, list(range(3 * step, 3 * step + 3)), images, planner, 0, lambda r: by_hand(r, 1))
    with load(root, shuffle=False, drop_last=False, batch_size=23, resolution="full", max_failures=20) as loader:
        batch = next(iter(loader))
    assert batch["valid"].tolist() == [row not in (2, 3, 4) for row in range(23)]
    assert (batch["image"][2:5] == 0).all()


def test_the_gpu_s_slot_has_all_slices(data: Path) -> None:
    """Draw by draw, from before to after, each with its own records."""
    from radload.codecs import htj2k
    from radload.dataset.shards import ShardFiles
    from radload.kernels import cpu
    from radload.kernels.prepare import SAMPLE, WINDOW, normalisation
    from radload.loading import streams
    from radload.loading.fields import base_fields
    from radload.loading.ring import Layout

    index = open_index(data, read_manifest(data))
    recipe = make_recipe()
    wanted = settings(recipe, SIZE, augment=AUGMENT, neighbours=Neighbours(1))
    planner = Planner(index, wanted)
    with load(data, augment=AUGMENT, batch_size=21) as loader:
        batch = next(iter(loader))
    rows = batch["index"].numpy()
    slot = {**streams.fields(21, 3, streams.capacities(index, range(27)), 3), **base_fields(21, wanted)}
    layout = Layout.of(slot)
    arrays = layout.arrays(np.zeros(layout.size, np.uint8), 0)
    with ShardFiles(data, index.shard_names) as files:
        deliverer = streams.StreamDeliverer(files, planner, range(27), replace=False)
        plan = plan_draws(planner, rows, 0, np.arange(21))
        deliverer.begin(arrays, plan, np.arange(21))
        for i in range(21):
            deliverer.deliver(arrays, i, plan, i, 0, i, None)
    out: NDArray[np.float32] = np.empty((63, 3, *SIZE), np.float32)
    for i in range(63):
        pixels = htj2k.imagecodecs.htj2k_decode(streams.content(arrays, i).tobytes())
        sample, window = arrays["samples"][i : i + 1].view(SAMPLE)[:, 0], arrays["windows"][i : i + 1].view(WINDOW)
        cpu.render_into(pixels, sample, window, normalisation(recipe.mean, recipe.std), out[i])
    assert np.array_equal(out.reshape(21, 9, *SIZE), batch["image"].numpy()) and np.array_equal(arrays["rows"], rows)


def test_series_without_positions_are_told_of(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "radload"), load(data, neighbour_spacing=2.0):
        pass
    assert "1 of 4 series with several slices have no slice positions" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "radload"), load(data, "val", neighbour_spacing=2.0), load(data):
        pass
    assert not caplog.text


def test_mixtures_of_neighbours(data: Path) -> None:
    with Mixture([load(data), load(data, "val")]) as mixture:
        assert next(iter(mixture))["image"].shape == (6, 9, *SIZE)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"neighbours": -1}, "neighbours=-1 cannot be used: give 0 to 32"),
    ({"neighbours": 1.0}, "neighbours=1.0 cannot be used"),
    ({"neighbours": 33}, "neighbours=33"),
    ({"neighbour_edges": "wrap"}, "neighbour_edges='wrap' is unknown: choose one of 'repeat', 'skip'"),
    ({"neighbour_spacing": 0}, "neighbour_spacing=0 cannot be used: give millimetres"),
    ({"neighbour_spacing": "index"}, "neighbour_spacing='index' cannot be used"),
    ({"neighbour_spacing": float("nan")}, "neighbour_spacing=nan"),
    ({"neighbours": 0, "neighbour_spacing": 1.0}, "says nothing without neighbours"),
    ({"neighbours": 0, "neighbour_edges": "skip"}, "says nothing without neighbours"),
    ({"neighbour_edges": "skip", "sampler": "patient"}, "which sampler='patient' does not know of"),
    ({"neighbours": 4, "neighbour_edges": "skip"}, "no sample has 4 neighbours on both sides"),
    ({"neighbours": 3, "neighbour_edges": "skip", "batch_size": 2}, "has 1 samples, fewer than one global batch of 2"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=str)
def test_bad_arguments_are_refused_in_words(data: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load(data, **arguments)


def test_settings_survive_json() -> None:
    wanted = settings(make_recipe(), SIZE, neighbours=Neighbours(2, 1.5, "skip"))
    assert Settings.from_dict(json.loads(json.dumps(wanted.as_dict()))) == wanted
