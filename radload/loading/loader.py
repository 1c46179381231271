"""`Loader`: batches of a packed data set as torch tensors, in an order that can be resumed to the exact sample."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from radload.dataset.index import Index, open_index, split_range
from radload.dataset.manifest import read_manifest
from radload.errors import RadloadError, UsageError
from radload.loading.agree import Agreement
from radload.loading.arguments import (
    check_epoch,
    check_numbers,
    check_order,
    core_share,
    find_labels,
    output_dtype,
    output_size,
    world_place,
)
from radload.loading.cache.arguments import cache_config, parse_bytes
from radload.loading.columns import Columns, label_column
from radload.loading.failures import Failures
from radload.loading.masks import check_masks
from radload.loading.order.order import Order
from radload.loading.order.strata import check_sampling, facts, open_sampler
from radload.loading.planning.augment import Augment, make_augment
from radload.loading.planning.fit import check_fit, count_unscaled
from radload.loading.planning.levels import check_resolution
from radload.loading.planning.neighbours import check_neighbours, drawn_rows, tell_unplaced
from radload.loading.planning.plan import Settings
from radload.loading.planning.recipe import MEAN, STD, Recipe, make_recipe
from radload.loading.planning.views import Views, check_views
from radload.loading.preparation import Preparation
from radload.loading.process import Delivery, LoaderProcess, forks_of
from radload.loading.protocol import Config
from radload.loading.reader import Failure
from radload.loading.sinks import Sink, make_sink
from radload.loading.state import make_state, read_state
from radload.remote.source import find_source

_NO_WORKERS = "a Loader already reads in a process of its own"


class Loader(IterableDataset[dict[str, Any]]):
    """Iterates over batches of one split; each iteration goes through the rest of the current epoch.

    A batch is a dict: "image" (N, C, H, W) of `dtype`, (views, N, C, H, W) with several `views`; "local" (local_views, N, C, h, w) where
    there are any; "label" (N,) int64 with -1 where there is none, or (N, K) float32
    with NaN where unknown; "index" (N,) int64, rows of the index; "valid" (N,) bool in evaluation (`shuffle=False` or
    `drop_last=False`), False for padding at the end and for samples that could not be read; the columns of `meta`; and with
    `masks` "mask" (N, H, W) int32: labels of the image's pixels, 0 outside the image, -1 for a sample without a mask; like the images
    with several views, and "local_mask" for the local ones.
    Batches may be kept: their memory is used again only when nothing refers to it. `DataLoader(loader, batch_size=None)` passes
    them on; with num_workers above 0 it is refused, because a loader has a process of its own.

    Attributes:
        recipe: the windows in use; channels: of an image, windows times slices; views: of each draw; preparation: all that decides the
            pixels in evaluation, for `radload.prepare`.
        classes, task: of the label set, () and None without one.
        failures: samples that could not be read, in order (the first 1,000); failed: their number in this epoch on this rank;
            failed_on_all: on all ranks, where `group` lets them count together.
        cache_hits: slices of this epoch that came out of the cache.
        epoch: the current one. unscaled: samples delivered so far whose millimetres are unknown (only with `spacing`).
    """

    def __init__(
        self,
        path: str | PathLike[str],
        split: str | None = "train",
        *,
        batch_size: int,
        size: int | tuple[int, int] = 224,
        device: str | torch.device = "cpu",
        window: str | tuple[float, float] | Recipe | None = None,
        channels: int = 3,
        labels: str | bool | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        dtype: str | torch.dtype = "float32",
        level_slack: float = 1.0,
        resolution: str = "auto",
        augment: Augment | str | None = None,
        meta: Sequence[str] = (),
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        prefetch: int = 3,
        mean: float | Sequence[float] = MEAN,
        std: float | Sequence[float] = STD,
        max_failures: float = 0.01,
        epoch: int = 0,
        fit: str | None = None,
        spacing: float | tuple[float, float] | None = None,
        masks: bool = False,
        sampler: str | None = None,
        weights: Mapping[str, float] | None = None,
        cache: str | PathLike[str] | bool | None = None,
        cache_bytes: int | str | None = None,
        group: Any = None,
        views: int = 1,
        local_views: int = 0,
        local_size: int | tuple[int, int] = 96,
        local_area: tuple[float, float] = (0.05, 0.32),
        neighbours: int = 0,
        neighbour_spacing: float | None = None,
        neighbour_edges: str = "repeat",
        block: int | None = None,
        runs: int | None = None,
        version: int | str | None = None,
        fetch: str = "auto",
        shard_cache: str | PathLike[str] | None = None,
        shard_cache_bytes: int | str | None = None,
        decode: str = "auto",
        static: bool = False,
        channels_last: bool = False,
        device_cache_bytes: int | str | None = None,
    ) -> None:
        """Open the data set in `path`, a folder or an address (s3://BUCKET/NAME, gs://BUCKET/NAME), and start the loader's process.

        Args:
            split: "train", "val", "test", or None for all.
            batch_size: of this rank; the global batch is batch_size * world_size.
            size: of the output in pixels, one number or (height, width).
            device: "cpu", "cuda" for rendering on the GPU, or "auto": "cuda" where all that it needs is there.
            window: see `recipe.make_recipe`. channels: 3 or 1, where `window` is no Recipe; mean, std: likewise.
            labels: name of a label set; None: the default set where there is one; False: none.
            seed, epoch: 64-bit integer, and the epoch to start with.
            shuffle: another order each epoch; otherwise the order of the index.
            drop_last: leave out what fills no global batch; otherwise pad the last batch with `valid` False.
            dtype: "float32", "float16" or "bfloat16".
            level_slack: how far a decoded level may be enlarged (1.0: not at all); resolution: "auto", or "full" to decode all levels.
            augment: None, "default" (random resized crop, horizontal flip where it destroys no meaning, window jitter), or an
                `Augment`, which also rotates, bends the grey scale and adds noise. See docs/loading.md.
            meta: names of attributes for the batch (columns of the index; see docs/format.md).
            rank, world_size: None: what torchrun says, or 0 and 1.
            threads: cores that the loader works on, with a process on each; None: those that this process may use, divided by the
                ranks of this machine. (Shards in a bucket, and device_cache_bytes: threads of one process.)
            prefetch: batches prepared ahead.
            max_failures: samples per epoch that may be unreadable: a fraction below 1 (rounded up), or a number. Counted over all ranks
                with `group`, else by each rank for itself.
            fit: "stretch" the image over the output (the default), or keep its proportions: "pad" shows all of it, "crop" fills the
                output. spacing: millimetres per output pixel, one number or (row, col); `fit` ("pad" by default) then holds for samples
                whose millimetres are unknown. See docs/loading.md.
            masks: label masks too, nearest neighbour under the same geometry.
            sampler: "uniform": each sample once per epoch (the default); "balanced": classes of `labels` in equal shares; "weights":
                in the shares of `weights` (class name -> number, the default where they are given); "patient": one sample of each
                patient per epoch; "blocks": as "uniform", but read in runs, for storage that dislikes random reads. See docs/loading.md.
            cache: keep decoded images: in a folder that all ranks and runs of this machine share ("/dev/shm/NAME": in memory), or, for
                True, in the memory of this loader's processes. cache_bytes: how much, as a number or as "8GB"; None: 8 GB, or half of
                what is free where that is less. See docs/loading.md.
            group: a process group of all ranks that takes CPU tensors (`torch.distributed.new_group(backend="gloo")`), used for nothing
                else: failures are then counted together, and all ranks end at the same step with the same AgreedEnd. Each step is a
                collective, so every rank must take the same steps.
            views: differently augmented images of one decode, for self-supervision; local_views: more of them, of `local_size`, whose
                crops show `local_area` of the image, smallest and largest share; those of the others are the augmentation's.
            neighbours: slices on each side of the drawn one, as channels from before to after; neighbour_spacing: millimetres from
                one to the next, None: by index; neighbour_edges: at the ends of a stack "repeat" its last slice, or "skip" such draws.
            fetch: of shards in a bucket: "shards", kept on this machine, "ranges" of the bytes needed, or "auto", what costs less.
                shard_cache: folder for them, shared by all ranks and data sets; None: one of yours in the folder for temporary files.
                shard_cache_bytes: how much of them is kept, the longest unused go first; None: half of what is free. See docs/loading.md.
            block, runs: of "blocks": samples that are read in one run (32), and runs that are open at once (four global batches).
            version: of the data set, by number, None: the current one (docs/versions.md). A loader keeps the version that it opened.
            decode: for a GPU: on the "cpu", on the "gpu", or "auto": what measures faster at the start. See docs/gpu.md.
            static: on a GPU, each batch lies at the addresses of the one before, which it replaces: for CUDA graphs.
            channels_last: images lie in memory as (N, H, W, C); their shape stays (N, C, H, W).
            device_cache_bytes: of the GPU's memory for decoded images, as a number or as "8GB"; None: nothing is kept there. On several
                ranks, which all must give it, draws of a global batch go to the rank that keeps them. See docs/gpu.md.

        Raises:
            UsageError: an argument, or a path, that cannot be used. FormatError: shards of another version, or damaged.
        """
        self._closed = True  # until everything is open
        kept_bytes = None if shard_cache_bytes is None else parse_bytes(shard_cache_bytes, "shard_cache_bytes")
        root, remote = find_source(path, fetch, shard_cache, kept_bytes)
        manifest = read_manifest(root, version)
        self._index: Index = open_index(root, manifest, scattered=True)
        self._split, self._rows = split, split_range(self._index, split)
        rank, world_size = world_place(rank, world_size)
        check_numbers(batch_size, prefetch, world_size, threads, max_failures, epoch)
        augment = make_augment(augment)
        check_resolution(resolution, level_slack)
        self.recipe: Recipe = make_recipe(window, channels, mean, std)
        self._labels = find_labels(root, labels, self._index)
        training, together = shuffle and drop_last, batch_size * world_size
        sampling = check_sampling(
            sampler, weights, split, self._labels, training, self._index.label_root, together, block, runs
        )
        beside = check_neighbours(neighbours, neighbour_spacing, neighbour_edges, sampling.name)
        self.views: Views = check_views(views, local_views, output_size(local_size, "local_size"), local_area, augment)
        rows = drawn_rows(self._index, self._rows, beside)
        drawn = open_sampler(sampling, self._index, seed, rows)
        held = 0 if device_cache_bytes is None else parse_bytes(device_cache_bytes, "device_cache_bytes")
        homes = (
            bool(held) and world_size > 1 and training and sampling.name != "blocks"
        )  # the same on all ranks, whatever their device
        self._order = Order(drawn.samples, batch_size, rank, world_size, seed, shuffle, drop_last, drawn, homes)
        check_order(self._order, split, sampling.name)
        fit, scale = check_fit(fit, spacing)
        if masks:
            check_masks(self._index, root)
        settings = Settings(
            output_size(size),
            self.recipe,
            output_dtype(dtype),
            level_slack,
            resolution,
            augment,
            seed,
            fit,
            scale,
            masks,
            self.views,
            beside,
        )
        self.channels: int = settings.channels
        self.preparation = Preparation.of(settings, manifest)
        self.classes: tuple[str, ...] = self._labels.classes if self._labels is not None else ()
        self.task: str | None = self._labels.task if self._labels is not None else None
        self._columns = Columns(self._index, meta)
        self._facts = {
            "fingerprint": manifest.fingerprint,
            "generation": manifest.generation,
            "split": split,
            "samples": len(rows),
            "global_batch": self._order.global_batch,
            "seed": seed,
            "shuffle": shuffle,
            "drop_last": drop_last,
            "fit": fit,
            "spacing": None if scale is None else list(scale),
            "neighbours": list(beside.as_dict().values()) if beside.count else None,
            "augment": None if augment is None else augment.as_dict(),
            "views": self.views.as_dict() if self.views.total > 1 else None,
        } | facts(sampling, self.classes, self._index)
        if beside.spacing is not None:
            tell_unplaced(self._index, self._rows)
        self._evaluation = not (shuffle and drop_last)
        agreement = None if group is None else Agreement(group, rank, world_size)
        self._failures = Failures(max_failures, self._order.steps * batch_size, world_size, self._evaluation, agreement)
        self._late: RadloadError | None = None  # met after a batch was complete: the next step's business
        self.cache_hits = 0
        self.unscaled = 0
        self.epoch = epoch
        self._position = 0  # global batches delivered in this epoch
        self._asked = (epoch, 0)  # the next one to ask for
        self._prefetch = prefetch
        self._turn = 0  # of the iterator that may go on
        self._placed = False  # by a state: the next iterator starts there, also in evaluation
        kept = cache_config(cache, cache_bytes, manifest, self._index)
        threads = threads if threads is not None else core_share()
        self._sink: Sink = make_sink(
            str(device), settings, batch_size, self._index, self._rows, decode, static, channels_last, threads, kept is not None,
            held,
        )  # fmt: skip
        config: Config = {
            "root": str(root.resolve()),
            "fingerprint": manifest.fingerprint,
            "rows": (self._rows.start, self._rows.stop),
            "order": self._order.as_dict(),
            "settings": settings.as_dict(),
            "fields": self._sink.fields,
            "deliver": self._sink.deliver,
            "threads": threads,
            "sampling": sampling.as_dict(),
            "cache": kept,
            "generation": manifest.generation,
            "remote": remote,
            "held": held,
        }
        self._process = LoaderProcess(config, prefetch, self._sink.pinned) if self._order.steps else None
        self._owner = os.getpid()
        self._closed = False

    @property
    def failures(self) -> list[Failure]:
        """Samples that could not be read since the loader was made, in order; the first 1,000."""
        return self._failures.named

    @property
    def failed(self) -> int:
        """Failures of this rank in the current epoch, since it began or a state was loaded."""
        return self._failures.failed

    @property
    def failed_on_all(self) -> int:
        """Failures of all ranks in the current epoch; without `group`, of this one."""
        return self._failures.total

    @property
    def trains(self) -> bool:
        """Shuffled, in full batches only; otherwise each sample comes once, and batches have "valid"."""
        return not self._evaluation

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        return self._order.steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rest of the current epoch (in evaluation all of it); then `epoch` counts up. A new iterator ends the one before."""
        self._check_open()
        self._turn += 1
        return self._epoch(self._turn)

    def _epoch(self, turn: int) -> Iterator[dict[str, Any]]:
        if 0 < self._order.steps == self._position:  # the loop before took the last batch, and did not ask for the end
            self._next_epoch()
        elif (
            self._evaluation and not self._placed
        ):  # a pass that was left early (a sanity check, a limit) is no beginning
            self._go(self.epoch, 0)
        self._placed = False
        epoch = self.epoch
        while self._position < self._order.steps:
            batch = self._take()
            yield batch
            if turn != self._turn or epoch != self.epoch:
                raise UsageError(
                    "the loader was started again or moved while this loop was running: use one loop at a time"
                )
        self._next_epoch()

    def _next_epoch(self) -> None:
        self._failures.finish(self.epoch)
        self.epoch, self._position, self.cache_hits = self.epoch + 1, 0, 0

    def _take(self) -> dict[str, Any]:
        """Receive one batch, count it as delivered, and ask for those after it."""
        self._check_open()
        process = self._process
        if process is None:  # pragma: no cover - there are no steps without a process
            raise RuntimeError("a loader without steps was asked for a batch")
        batch, error = None, self._late
        if error is None:
            try:
                batch = self._receive(process)
            except RadloadError as failed:
                error = failed
        verdict = self._failures.verdict(self.epoch, error)
        if verdict is not None or batch is None:
            self.close()  # nothing of it is left running; a new loader goes on from the last state
            raise verdict or RuntimeError("a step without a batch") from (None if verdict is error else error)
        self._position += 1
        try:
            self._ask(process)
        except RadloadError as failed:
            self._late = failed
        return batch

    def _receive(self, process: LoaderProcess) -> dict[str, Any]:
        self._ask(process)
        batch = None
        while batch is None:
            delivery = process.receive()
            if (delivery.epoch, delivery.step) != (self.epoch, self._position):
                raise RuntimeError(
                    f"batch {delivery.step} of epoch {delivery.epoch} came for {self._position} of {self.epoch}"
                )
            self._index.files.check()
            try:
                batch = self._batch(process, delivery)
            except Exception:
                self._index.files.check()  # if they were changed meanwhile, that is the reason
                raise
            if batch is None:  # the loader process decodes this one, and names and replaces what cannot be decoded
                process.ask(self.epoch, self._position, again=True, settled=self._sink.settled())
        self._failures.add(delivery, self.epoch)
        self.cache_hits += delivery.hits
        self._index.files.check()  # labels and attributes are what they were
        return batch

    def _ask(self, process: LoaderProcess) -> None:
        """Keep `prefetch` batches asked for; in training beyond the end of the epoch, so that the next one starts at once."""
        while process.asked < self._prefetch:
            epoch, step = self._asked
            if step == self._order.steps:
                if self._evaluation and epoch == self.epoch:
                    return
                epoch, step = epoch + 1, 0
            process.ask(epoch, step, self._sink.share, settled=self._sink.settled())
            self._asked = (epoch, step + 1)

    def _batch(self, process: LoaderProcess, delivery: Delivery) -> dict[str, Any] | None:
        """A delivered slot as a batch; None where the device cannot decode it."""
        arrays = process.ring.arrays(delivery.slot)
        rows = arrays["rows"].copy()
        valid = arrays["valid"].copy() if self._evaluation else None
        tensors = self._sink.tensors(process.ring, delivery.slot)
        if tensors is None:
            return None
        batch: dict[str, Any] = dict(tensors)
        batch["label"] = label_column(self._labels, rows)
        batch["index"] = torch.from_numpy(rows)
        if valid is not None:
            batch["valid"] = torch.from_numpy(valid)
        batch.update(self._columns.take(rows))
        if self._facts["spacing"] is not None:
            self.unscaled += count_unscaled(
                self._index.records[rows[rows >= 0]], str(self._facts["fit"]), not self.unscaled
            )
        return self._sink.move(batch)

    def state_dict(self) -> dict[str, Any]:
        """What has been delivered, as a small dict of plain values; the same on every rank."""
        epoch, position = self.epoch, self._position
        if position == self._order.steps:  # after the last batch the next thing is the next epoch
            epoch, position = epoch + 1, 0
        return make_state(self._facts, epoch, position)

    def load_state_dict(self, state: Mapping[str, Any], allow_new_version: bool = False) -> None:
        """Go on where `state` was taken, on any number of ranks with the same global batch.

        Args:
            allow_new_version: a state of another version of the data set goes on with the samples of this one at the start of the
                next epoch (of the same epoch where none of it was delivered).

        Raises:
            UsageError: the state belongs to other data or another order; it says which and what to do.
        """
        self._check_open()
        self._placed = True
        self._move(*read_state(state, self._facts, self._order.steps, self._order.world_size, allow_new_version))

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; if it is the current one, nothing changes, so a resumed run keeps its place."""
        check_epoch(epoch)
        if epoch != self.epoch:
            self._move(epoch, 0)

    def _move(self, epoch: int, position: int) -> None:
        self._go(epoch, position)
        self._turn += 1

    def _go(self, epoch: int, position: int) -> None:
        if self._process is not None and (epoch, position) != (self.epoch, self._position):
            self._process.forget()
            self._asked = (epoch, position)
            if self._position == self._order.steps:
                self._failures.finish(self.epoch)
            self._failures.reset()
            self.cache_hits = 0
        self.epoch, self._position = epoch, position

    @property
    def pids(self) -> list[int]:
        """Of the loader's process and those that it forked (at the first batch), for looking at what they use. UsageError as `pid`."""
        return [self.pid, *forks_of(self.pid)]

    @property
    def pid(self) -> int:
        """Of the loader's process, for looking at what it uses. Raises UsageError where it runs no more."""
        self._check_open()
        if self._process is None:
            raise UsageError("the loader has no steps, and so no process")
        return self._process.pid

    def close(self) -> None:
        """End the loader's process. Batches that were delivered stay valid. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._position == self._order.steps:
            self._failures.finish(self.epoch)
        if self._process is not None:
            self._process.close()
            self._process = None
        self._sink.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    def __reduce_ex__(self, protocol: Any) -> str | tuple[Any, ...]:
        """Refused: what starts workers by spawning, and copy.copy, would need it."""
        raise UsageError(f"{_NO_WORKERS} and cannot be copied: make it where it is used (DataLoader: num_workers=0)")

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the loader is closed: make a new one, and give it the state to go on")
        if get_worker_info() is not None:
            raise UsageError(f"{_NO_WORKERS}: give DataLoader num_workers=0 and batch_size=None, or leave it out")
        if os.getpid() != self._owner:
            raise UsageError("the loader belongs to another process (this one was forked): make it where it is used")
