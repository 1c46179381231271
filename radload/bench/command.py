"""What `radload bench SHARDS` does: opens the data set, lets stages and Loader take turns, and puts the figures together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from statistics import median
from typing import Any

from radload.bench import stages
from radload.bench.cold import measure_cold
from radload.bench.needs import Need, published_need
from radload.bench.options import BenchOptions, check_options
from radload.bench.result import DECODE, KERNEL, LOADER, READ, Result
from radload.bench.whole import Slot, WholeLoader
from radload.dataset.index import open_index, split_range
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.loading.arguments import core_share, output_size
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe

ROUNDS = 5
_ARCH_SHARE = 0.25  # of the time, for --measure-arch


def bench(options: BenchOptions) -> Result:
    """Measure reading, decoding and kernel alone, and the Loader, in turns; then what is not in the page cache, and the network.

    Raises:
        UsageError: options, or a data set, that cannot be used. FormatError: shards of another version, or damaged.
    """
    check_options(options)
    manifest = read_manifest(options.shards)
    index = open_index(options.shards, manifest)
    rows = split_range(index, options.split)
    settings = Settings(
        size=output_size(options.size),
        recipe=make_recipe(options.loader_window, options.channels),
        dtype="float32",
        level_slack=options.level_slack,
        resolution="auto",
        augment=options.augment,
        seed=0,
    )
    need = published_need(options.arch, options.gpu) if options.arch and options.gpu else None
    seconds = options.seconds * (1 - _ARCH_SHARE if options.measure_arch else 1)
    threads = options.threads if options.threads is not None else core_share()
    if len(rows) < options.batch_size:
        found = (
            f"{len(rows)} samples, fewer than a batch: take --batch-size {len(rows)} or fewer, or"
            if rows
            else "no samples: take"
        )
        raise UsageError(f"split {options.split or 'all'} has {found} another --split")
    # The Loader first: it checks the arguments that are its own, and its start is measured before anything is warm.
    with WholeLoader(options, threads) as loader, ShardFiles(options.shards, index.shard_names) as files:
        planner = Planner(index, settings)
        with ThreadPoolExecutor(threads) as pool:
            draws = stages.take_draws(files, planner, rows, pool)
            alone = {
                READ: stages.reading(files, draws, threads),
                DECODE: stages.decoding(draws, threads),
                KERNEL: stages.rendering(draws, planner, threads, options.batch_size),
            }
            for work in alone.values():  # compiles, and brings the draws into the page cache
                stages.rate(work, len(draws), threads, 0)

            busy: list[float] = []

            def turn(name: str, length: float) -> float:
                found = stages.rate(alone[name], len(draws), threads, length)
                if name != READ:  # which may wait for storage
                    busy.append(found.cores / min(threads, core_share()))
                return found.rate

            rounds, slots = take_turns(list(alone), turn, loader.run, seconds)
            cold = measure_cold(files, draws, alone[READ], pool, threads)
        read, held = loader.read(), loader.memory()
    if options.arch is not None and options.measure_arch:
        need = _measured(options, options.arch)
    wall = sum(slot.seconds for slot in slots)
    return Result(
        settings=_plain(options),
        samples=len(rows),
        threads=threads,
        rounds=rounds,
        levels=draws.levels,
        asked=draws.asked,
        raw=draws.raw,
        cold=cold,
        from_storage=min(read.fetched / read.asked, 1.0) if read is not None and read.asked else None,
        first_batch=loader.first_batch,
        loader_cores=sum(slot.loader_cpu for slot in slots) / wall,
        consumer_cores=sum(slot.consumer_cpu for slot in slots) / wall,
        memory=held,
        unreadable=draws.unreadable,
        cores_free=min(median(busy), 1.0),
        need=need,
    )


def take_turns(
    names: list[str], turn: Callable[[str, float], float], whole: Callable[[float], Slot], seconds: float
) -> tuple[dict[str, tuple[float, ...]], list[Slot]]:
    """`ROUNDS` rounds of every stage and the loader, one after the other, in `seconds` altogether.

    A machine that other programs use, or that gets hot, then disturbs all of them alike; medians are taken later.
    """
    length = seconds / (ROUNDS * (len(names) + 1))
    found: dict[str, list[float]] = {name: [] for name in (*names, LOADER)}
    slots = []
    for _ in range(ROUNDS):
        for name in names:
            found[name].append(turn(name, length))
        slots.append(whole(length))
        found[LOADER].append(slots[-1].rate)
    return {name: tuple(rates) for name, rates in found.items()}, slots


def _measured(options: BenchOptions, arch: str) -> Need:
    from radload.bench.measure_arch import measure_arch  # brings timm, which takes seconds to import

    return measure_arch(arch, options.channels, options.size, options.batch_size, options.seconds * _ARCH_SHARE)


def _plain(options: BenchOptions) -> dict[str, Any]:
    settings = asdict(options)
    settings["shards"] = str(options.shards)
    del settings["json"]
    return settings
