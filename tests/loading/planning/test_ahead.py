"""Steps that are planned together are those that are planned alone, whatever is asked for, and in whatever order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, write_dataset

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.loading.order.order import Order
from radload.loading.order.sampling import Uniform
from radload.loading.planning import ahead
from radload.loading.planning.ahead import Ahead, Step
from radload.loading.planning.augment import Augment
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.neighbours import Neighbours, rows_of
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.planning.views import Views
from radload.sources.slice import VoiFunction

SAMPLES, BATCH = 90, 4
EVERYTHING = Augment(rotate=20.0, gamma=0.3, noise=0.1)


def _write(folder: Path, tables: bool) -> Index:
    rng = np.random.default_rng(2)
    series = []
    for number in range(9):
        images = []
        for i in range(10):
            shape = (32 + 16 * (number % 3), 40)
            options: dict[str, Any] = {"slope": 1.0 + number, "intercept": -1000.0 + i, "invert": bool(i % 2)}
            if tables and i % 4 == 1:
                options = {"voi": VoiFunction.LUT, "voi_lut": (0, np.arange(0.0, 4096.0, 1 + i % 3).tolist())}
            if i % 5 == 0 and "slope" in options:
                options["padding"] = (0, 3)
            images.append(Image(rng.integers(0, 4096, shape).astype(np.uint16), **options))
        series.append(Series(images, modality=("CT", "MR", "US")[number % 3]))
    root = write_dataset(folder / "shards", series)
    return open_index(root, read_manifest(root))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return _write(tmp_path_factory.mktemp("plain"), tables=False)


def _settings(**options: Any) -> Settings:
    recipe = options.pop("recipe", make_recipe())
    return Settings((16, 16), recipe, "float32", 1.5, "auto", options.pop("augment", EVERYTHING), 7, **options)


def _alone(order: Order, drawn: range, planner: Planner, epoch: int, step: int) -> tuple[Step, BatchPlan]:
    positions, elements, valid = order.draws(epoch, step)
    places = np.flatnonzero(valid)
    rows = rows_of(drawn, elements[places])
    plan = plan_draws(planner, rows, epoch, positions[places])
    return Step(positions, elements, valid, places, rows, plan), plan


def _check(got: tuple[Step, BatchPlan], want: tuple[Step, BatchPlan]) -> None:
    for name in ("positions", "elements", "valid", "places", "rows"):
        assert np.array_equal(getattr(got[0], name), getattr(want[0], name)), name
    pairs = [(got[1], want[1]), *zip(got[1].further, want[1].further, strict=True)]
    for mine, other in pairs:
        assert mine.slices == other.slices
        for name in ("rows", "records", "levels", "pivot", "samples", "windows", "tables"):
            a, b = getattr(mine, name), getattr(other, name)
            assert a.tobytes() == b.tobytes() and a.shape == b.shape, name


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"augment": None},
        {"fit": "pad", "spacing": (1.0, 1.0)},
        {"views": Views(2, 1, local_size=(8, 8))},
        {"neighbours": Neighbours(1)},
        {"recipe": make_recipe("file")},
    ],
    ids=lambda options: next(iter(options), "default"),
)
def test_steps_are_what_they_are_alone(plain: Index, options: dict[str, Any]) -> None:
    """Every step of two epochs one after the other, backwards, and here and there."""
    planner, drawn = Planner(plain, _settings(**options)), range(SAMPLES)
    order = Order(SAMPLES, BATCH, 1, 2, seed=7)
    forwards = [(epoch, step) for epoch in range(2) for step in range(order.steps)]
    want = {at: _alone(order, drawn, planner, *at) for at in forwards}
    for sequence in (forwards, forwards[::-1], forwards[::3], [(1, 5), (1, 5), (1, 6), (0, 2), (0, 3), (0, 4), (1, 7)]):
        steps = Ahead(order, drawn, planner)
        for at in sequence:
            _check(steps.step(*at), want[at])


def test_the_padded_end_and_homes(plain: Index) -> None:
    planner, drawn = Planner(plain, _settings()), range(SAMPLES)
    for order in (
        Order(SAMPLES, BATCH, 1, 2, shuffle=False, drop_last=False),
        Order(SAMPLES, BATCH, 0, 3, seed=4, sampler=Uniform(SAMPLES, 4), homes=True),
    ):
        steps = Ahead(order, drawn, planner)
        for epoch in range(2):
            for step in range(order.steps):
                _check(steps.step(epoch, step), _alone(order, drawn, planner, epoch, step))
    last = Ahead(Order(SAMPLES, 7, 0, 1, shuffle=False, drop_last=False), drawn, planner).step(0, 12)[0]
    assert len(last.places) == SAMPLES % 7 and (last.elements[len(last.places) :] == -1).all()


def test_tables_are_those_of_one_batch(tmp_path: Path) -> None:
    """Look-up tables of several batches would be held, and posted, with each of them."""
    index = _write(tmp_path, tables=True)
    planner, drawn = Planner(index, _settings(recipe=make_recipe("file"))), range(SAMPLES)
    order = Order(SAMPLES, BATCH, seed=7)
    steps, pools = Ahead(order, drawn, planner), set()
    for step in range(order.steps):
        got, want = steps.step(0, step), _alone(order, drawn, planner, 0, step)
        _check(got, want)
        pools.add(len(got[1].tables))
    assert len(pools) > 2


def test_calls_of_the_planner(plain: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step first, so that the first batch is soon there; then twice as many each time, up to DRAWS, over the end of an epoch too."""
    planner, order = Planner(plain, _settings()), Order(SAMPLES, BATCH, seed=7)
    monkeypatch.setattr(ahead, "DRAWS", 8 * BATCH)
    asked: list[int] = []

    def counted(planner: Planner, rows: Any, epoch: int, positions: Any) -> BatchPlan:
        asked.append(len(rows) // BATCH)
        return plan_draws(planner, rows, epoch, positions)

    monkeypatch.setattr(ahead, "plan_draws", counted)
    steps = Ahead(order, range(SAMPLES), planner)
    assert order.steps == 22
    for at in [(epoch, step) for epoch in range(2) for step in range(22)]:
        steps.step(*at)
    assert asked == [1, 2, 4, 8, 7, 8, 8, 6]
    steps.step(0, 9)
    assert asked[-1] == 1


def test_a_step_that_is_not_there(plain: Index) -> None:
    order = Order(SAMPLES, BATCH, seed=7)
    steps = Ahead(order, range(SAMPLES), Planner(plain, _settings()))
    for step in (22, -1):
        with pytest.raises(IndexError, match="of 22"):
            steps.step(0, step)
