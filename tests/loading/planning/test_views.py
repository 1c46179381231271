"""Several views of one decode: each is what it would be alone, and no slice is decoded twice for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_pixels import BONE, LUNG, SOFT, TOLERANCE, expected, settings
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.kernels import reference
from radload.loading import Loader, Mixture, decode, deliver, streams
from radload.loading.deliver import PixelDeliverer
from radload.loading.fields import base_fields
from radload.loading.planning.augment import Augment
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.planning.views import Views, by_view, fields
from radload.loading.ring import Layout

SIZE, LOCAL = (24, 20), (10, 12)
CROPS: dict[str, Any] = {"local_views": 3, "local_size": LOCAL, "local_area": (0.05, 0.32)}
AUGMENT = Augment(area=(0.4, 1.0), flip=True, window_jitter=0.0)
VIEWS = Views(2, 3, (0.05, 0.32), LOCAL)
MODES: list[dict[str, Any]] = [{}, {"fit": "pad"}, {"fit": "crop"}, {"fit": "pad", "spacing": (0.9, 0.7)}]
SHAPES = [(64, 64), (200, 160), (31, 57), (400, 330), (1, 1), (96, 300)]


def load(path: Path, split: str = "train", **changes: Any) -> Loader:
    options: dict[str, Any] = {"batch_size": 4, "size": SIZE, "threads": 2, "seed": 4, "augment": AUGMENT}
    return Loader(path, split, **(options | changes))


def images() -> list[Image]:
    rng = np.random.default_rng(7)
    return [
        Image(
            ct_slice(i, *SHAPES[i % 6]),
            intercept=-1024.0,
            spacing=(0.8, 1.3),
            codec=("htj2k", "raw")[i % 4 == 3],
            mask=None if i == 5 else rng.integers(0, 300, SHAPES[i % 6]).astype(np.uint16),
        )
        for i in range(12)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("views") / "d", [Series(images())])


def planner_of(root: Path, **changes: Any) -> Planner:
    options: dict[str, Any] = {"augment": AUGMENT, "views": VIEWS} | changes
    return Planner(open_index(root, read_manifest(root)), settings(make_recipe(), SIZE, **options))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_views_are_the_reference_s(data: Path, mode: dict[str, Any]) -> None:
    """Images and masks of all views, under the crop that the view's number draws, at the lowest level that a view needs."""
    planner = planner_of(data, **mode)
    seen = []
    with load(data, views=2, masks=True, **CROPS, **mode) as loader:
        for step, batch in enumerate(loader):
            rows, positions = batch["index"].numpy(), np.arange(4 * step, 4 * step + 4)
            seen += rows.tolist()
            assert batch["image"].shape == (2, 4, 3, *SIZE) and batch["local"].shape == (3, 4, 3, *LOCAL)
            assert batch["mask"].shape == (2, 4, *SIZE) and batch["local_mask"].shape == (3, 4, *LOCAL)
            alone = [planner.plan(rows, 0, positions, view) for view in range(5)]
            together = plan_draws(planner, rows, 0, positions)
            assert np.array_equal(together.levels, np.min([plan.levels for plan in alone], axis=0))
            for view, plan in enumerate((together, *together.further)):
                size, kind, place = (SIZE, "", view) if view < 2 else (LOCAL, "local_", view - 2)
                for name in ("top", "left", "height", "width", "flip"):
                    assert np.array_equal(plan.samples[name], alone[view].samples[name])
                for i, row in enumerate(rows):
                    image = images()[row]
                    want = expected(image, [LUNG, SOFT, BONE], plan, i, size)
                    found = batch["local" if kind else "image"][place, i].numpy()
                    assert np.abs(found - want).max() <= TOLERANCE
                    label = batch[f"{kind}mask"][place, i].numpy()
                    if image.mask is None:
                        assert (label == -1).all()
                        continue
                    s = plan.samples[i]
                    crop = (float(s["top"]), float(s["left"]), float(s["height"]), float(s["width"]))
                    mask = reference.render_mask(image.mask, size, crop=crop, flip=(bool(s["flip"]), False))
                    assert np.array_equal(label, mask)
    assert sorted(seen) == list(range(12))


def test_levels_differ_and_the_lowest_is_taken(data: Path) -> None:
    planner = planner_of(data)
    rows = np.arange(12).repeat(20)
    positions = np.arange(240)
    levels = np.stack([planner.plan(rows, 0, positions, view).levels for view in range(5)])
    assert (levels.max(axis=0) > levels.min(axis=0)).any() and levels.min(axis=0).max() > 0
    together = plan_draws(planner, rows, 0, positions)
    for plan in (together, *together.further):
        assert np.array_equal(plan.levels, levels.min(axis=0)) and np.array_equal(plan.samples["level"], plan.levels)


def test_a_view_does_not_depend_on_those_beside_it(data: Path) -> None:
    """All levels decoded, a view's pixels are the same with one view, two, or five; crops of one draw are all different."""
    options: dict[str, Any] = {"resolution": "full"}
    with (
        load(data, **options) as one,
        load(data, views=2, **options) as two,
        load(data, views=2, **(CROPS | options)) as five,
        load(data, **(CROPS | options)) as single,
    ):
        for a, b, c, d in zip(one, two, five, single, strict=True):
            assert torch.equal(a["image"], b["image"][0]) and torch.equal(b["image"], c["image"])
            assert torch.equal(d["image"], a["image"]) and "local" not in b
            assert not torch.equal(b["image"][0], b["image"][1]) and not torch.equal(c["local"][0], c["local"][1])
            assert d["local"].shape == (3, 4, 3, *LOCAL)


class _Counted:
    """Calls of `decode_level` by key."""

    def __init__(self) -> None:
        self.keys: list[int] = []

    def __call__(self, data: bytes, record: np.void, level: int, *more: Any) -> NDArray[Any]:
        self.keys.append(int(record["key"]))
        return decode.decode_level(data, record, level, *more)


def filled(root: Path, wanted: Settings, rows: NDArray[np.int64], extra: int = 1) -> dict[str, NDArray[Any]]:
    """A slot of len(rows) draws and `extra` padding, through plan and deliverer, without a process."""
    index = open_index(root, read_manifest(root))
    planner, count = Planner(index, wanted), len(rows) + extra
    shown = fields(count, wanted.views, wanted.size, wanted.channels, "<f4", wanted.masks)
    layout = Layout.of({**shown, **base_fields(count, wanted)})
    arrays = layout.arrays(np.full(layout.size, 255, np.uint8), 0)
    with ShardFiles(root, index.shard_names) as files:
        deliverer = PixelDeliverer(files, planner, range(len(index.records)), replace=False)
        plan = plan_draws(planner, rows, 0, rows)
        deliverer.begin(arrays, plan, np.arange(len(rows)))
        tools = deliverer.tools()
        for i in range(len(rows)):
            deliverer.deliver(arrays, i, plan, i, 0, int(rows[i]), tools)
    return arrays


def test_one_decode_serves_all_views(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = _Counted()
    monkeypatch.setattr(deliver, "decode_level", counted)
    wanted = settings(make_recipe(), SIZE, augment=AUGMENT, views=VIEWS, masks=True)
    arrays = filled(data, wanted, np.arange(12))
    assert counted.keys == list(range(12))
    for view, part in enumerate(by_view(arrays, VIEWS)):
        assert (part["image"][12] == 0).all() and (part["mask"][12] == -1).all(), "padding"
        assert np.isfinite(part["image"]).all() and part["image"][:12].std() > 0.1, view


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes_are_the_rounded_float32(data: Path, dtype: str) -> None:
    with load(data, views=2, dtype=dtype, **CROPS) as loader, load(data, views=2, **CROPS) as plain:
        for batch, want in zip(loader, plain, strict=True):
            for name in ("image", "local"):
                assert batch[name].dtype == getattr(torch, dtype)
                assert torch.equal(batch[name], want[name].to(getattr(torch, dtype)))


def test_neither_threads_nor_ranks_nor_batch_size_change_a_view(data: Path) -> None:
    options: dict[str, Any] = {"views": 2, "masks": True, **CROPS}
    with (
        load(data, batch_size=6, threads=3, **options) as whole,
        load(data, batch_size=3, rank=0, world_size=2, threads=1, **options) as first,
        load(data, batch_size=3, rank=1, world_size=2, prefetch=1, **options) as second,
        load(data, batch_size=2, **options) as small,
    ):
        small_batches = list(small)
        for step, (a, b, c) in enumerate(zip(whole, first, second, strict=True)):
            parts = small_batches[3 * step : 3 * step + 3]
            for name in ("image", "local", "mask", "local_mask"):
                assert torch.equal(a[name], torch.cat([b[name], c[name]], 1)), name
                assert torch.equal(a[name], torch.cat([part[name] for part in parts], 1)), name
            assert a["index"].tolist() == [*b["index"].tolist(), *c["index"].tolist()]


def test_resume_gives_the_same_views(data: Path) -> None:
    options: dict[str, Any] = {"views": 2, "batch_size": 3, **CROPS}
    with load(data, **options) as loader:
        run, states = [], []
        for _ in range(2):
            for batch in loader:
                run.append(batch)
                states.append(json.loads(json.dumps(loader.state_dict())))
    for start in (0, 3, 5):
        with load(data, **options) as resumed:
            resumed.load_state_dict(states[start])
            batch = next(iter(resumed))
        assert all(torch.equal(batch[name], run[start + 1][name]) for name in ("image", "local", "index"))


def test_a_stand_in_has_all_views_and_evaluation_leaves_all_out(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(data, root)
    flip_byte(root, 4)
    options: dict[str, Any] = {"views": 2, "masks": True, "resolution": "full", **CROPS}
    with load(root, **options) as loader:
        batches = list(loader)
        assert [f.key for f in loader.failures] == ["000000000004"]
    planner = planner_of(root, resolution="full")
    rows = torch.cat([batch["index"] for batch in batches]).tolist()
    assert 4 not in rows and len(rows) == 12
    for position, row in enumerate(rows):
        batch, i = batches[position // 4], position % 4
        plan = plan_draws(planner, np.array([row]), 0, np.array([position]))
        for view, part in enumerate((plan, *plan.further)):
            size = SIZE if view < 2 else LOCAL
            want = expected(images()[row], [LUNG, SOFT, BONE], part, 0, size)
            found = batch["image"][view, i] if view < 2 else batch["local"][view - 2, i]
            assert np.abs(found.numpy() - want).max() <= TOLERANCE
    with load(root, shuffle=False, drop_last=False, batch_size=5, **options) as loader:
        batches = list(loader)
    assert torch.cat([batch["valid"] for batch in batches]).tolist() == [row != 4 for row in range(12)] + [False] * 3
    for batch, gone in ((batches[0], [4]), (batches[2], [2, 3, 4])):
        assert (batch["image"][:, gone] == 0).all() and (batch["local"][:, gone] == 0).all()
        assert (batch["mask"][:, gone] == -1).all() and (batch["local_mask"][:, gone] == -1).all()


@pytest.mark.parametrize("lut", [False, True])
def test_the_gpu_s_slot_has_all_views(data: Path, tmp_path: Path, lut: bool) -> None:
    """Rendered from the slot alone, on the CPU, they are the CPU path's; each codestream is there once, tables too."""
    from radload.codecs import htj2k
    from radload.kernels import cpu
    from radload.kernels.prepare import SAMPLE, WINDOW, normalisation

    root = data
    if lut:
        rng = np.random.default_rng(3)
        table = (0, np.linspace(0, 65_535, 1000).tolist())
        pictures = [Image(rng.integers(0, 1000, (50, 40)).astype(np.uint16), voi_lut=table) for _ in range(3)]
        root = write_dataset(tmp_path / "d", [Series(pictures, "CR")])
    index = open_index(root, read_manifest(root))
    recipe = make_recipe()
    wanted = settings(recipe, SIZE, augment=AUGMENT, views=VIEWS)
    rows = np.arange(len(index.records))
    want = filled(root, wanted, rows, extra=0)
    planner, count = Planner(index, wanted), len(rows)
    pixels, coded = streams.capacities(index, range(count))
    slot = streams.fields(count, 3, (2 * pixels, 2 * coded), 1, VIEWS.total)  # one draw comes twice
    layout = Layout.of({**slot, **base_fields(count, wanted)})
    arrays = layout.arrays(np.zeros(layout.size, np.uint8), 0)
    with ShardFiles(root, index.shard_names) as files:
        deliverer = streams.StreamDeliverer(files, planner, range(count), replace=False)
        plan = plan_draws(planner, rows, 0, rows)
        other = plan_draws(planner, rows, 0, rows)  # as for stand-ins: its tables are appended
        deliverer.begin(arrays, plan, rows)
        for i in rows:
            deliverer.deliver(arrays, int(i), plan, int(i), 0, int(i), None)
        assert arrays["taken"][streams.TABLES] == len(plan.tables)
        assert all(view.tables is plan.tables for view in plan.further)
        deliverer.deliver(arrays, 0, other, 0, 0, 0, None)
    items = arrays["items"].view(streams.ITEM)[:, 0]
    for view, part in enumerate(by_view(want, VIEWS)):
        samples, windows = streams.names(view)
        for i in rows:
            data_ = streams.content(arrays, int(i))
            shape = (int(items["rows"][i]), int(items["cols"][i]))
            decoded: NDArray[Any] = (
                htj2k.imagecodecs.htj2k_decode(data_.tobytes())
                if items["kind"][i] == streams.STREAM
                else data_.view(streams.PIXEL_TYPES[items["kind"][i]]).reshape(shape)
            )
            out = np.empty_like(part["image"][i])
            cpu.render_into(
                decoded,
                arrays[samples][i : i + 1].view(SAMPLE)[:, 0],
                arrays[windows][i : i + 1].view(WINDOW),
                normalisation(recipe.mean, recipe.std),
                out,
                tables=arrays["tables"][: int(arrays["taken"][streams.TABLES])],
            )
            assert np.array_equal(out, part["image"][i])


def test_mixtures_join_views(data: Path, ct_data: Path) -> None:
    options: dict[str, Any] = {"views": 2, "batch_size": 2, "labels": False, **CROPS}
    with (
        Mixture([load(data, **options), load(ct_data, **options)]) as mixture,
        load(data, **options) as one,
        load(ct_data, **options) as other,
    ):
        batch, left, right = next(iter(mixture)), next(iter(one)), next(iter(other))
        assert batch["image"].shape == (2, 4, 3, *SIZE) and batch["source"].tolist() == [0, 0, 1, 1]
        for name in ("image", "local"):
            assert torch.equal(batch[name], torch.cat([left[name], right[name]], 1))
    with (
        Mixture([load(data, **options), load(ct_data, **(options | {"views": 3}))]) as mixture,
        pytest.raises(UsageError, match="differ in column 'image'"),
    ):
        next(iter(mixture))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"views": 0}, "views=0 cannot be used: give 1 to 64"),
    ({"views": 1.5}, "views=1.5 cannot be used"),
    ({"views": True}, "views=True cannot be used"),
    ({"local_views": -1}, "local_views=-1 cannot be used: give 0 to 64"),
    ({"local_views": 65}, "local_views=65"),
    ({"local_views": 2, "local_size": 0}, "local_size=0 cannot be used"),
    ({"views": 2, "augment": None}, "views=2 with local_views=0 needs random crops"),
    ({"local_views": 2, "augment": None}, "views=1 with local_views=2 needs random crops"),
    ({"local_area": (0.5, 1.1)}, "local_area=.* 0.01 <= low <= high <= 1"),
    ({"local_area": 0.5}, "local_area=0.5 cannot be used"),
    ({"local_area": (0.4, 0.3)}, "local_area="),
    ({"local_area": (0.0, 0.3)}, "local_area="),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=str)
def test_bad_arguments_are_refused_in_words(ct_data: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load(ct_data, **arguments)


def test_settings_survive_json() -> None:
    wanted = settings(make_recipe(), SIZE, views=VIEWS, augment=AUGMENT)
    assert Settings.from_dict(json.loads(json.dumps(wanted.as_dict()))) == wanted


def test_areas_are_kept(data: Path) -> None:
    """A crop's share of the image is the view's own; with square output and kept proportions it is exact."""
    planner = planner_of(data)
    rows, positions = np.zeros(400, np.int64), np.arange(400)
    for view, (low, high) in enumerate([AUGMENT.area] * 2 + [VIEWS.local_area] * 3):
        box = planner.plan(rows, 0, positions, view).samples
        share = box["height"] * box["width"] / (64 * 64)
        assert low * 0.9 < share.min() < low * 1.3 and high * 0.75 < share.max() <= high * 1.1


def test_batches_may_be_kept_in_part(tmp_path: Path) -> None:
    """Batches may be kept in part: a slot is used again only when images, local views and masks are all gone."""
    root = write_dataset(tmp_path / "d", [ct_series(1, 8)])
    with load(root, views=2, batch_size=2, prefetch=1, **CROPS) as loader:
        kept = [batch["local"] for _ in range(3) for batch in loader]
        copies = [tensor.clone() for tensor in kept]
        for _ in range(3):
            list(loader)
        assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
