"""Trains a timm network on a packed data set. Reads from top to bottom.

    torchrun train/pretrain.py                                  # ./shards, every GPU's worth of defaults; one process
    torchrun --nproc-per-node=8 train/pretrain.py --shards /data/shards --out runs/a --arch densenet121
    python train/pretrain.py --help

The run's folder (--out) holds run.json (options, windows, classes), config.toml (options, for --config), log.jsonl, checkpoints/,
backbone.safetensors with backbone.json, val.json and predictions.npz of the last validation, and in the end DONE (or STOPPED after
SIGTERM or Ctrl-C).
The same command again goes on where it stopped: the loader, the optimizer and the random state continue as if nothing had
happened, on as many processes as divide the batch.
docs/training.md says more, and what several machines and automatic restarts need.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch.distributed.elastic.multiprocessing.errors import record

import radload
from radload.dataset.files import write_json
from radload.dataset.manifest import read_manifest
from radload.errors import AgreedEnd, RadloadError, UsageError
from radload.remote.source import find_source
from radload.train import checkpoint
from radload.train.ceiling import rehearse
from radload.train.config import Config, check_resume, resolve
from radload.train.distributed import (
    Ranks,
    RankZeroFailed,
    StopRequest,
    end,
    join,
    launch_notes,
    leave,
    multiplies_bf16,
    parallel,
    set_random_state,
    step_seed,
    without_exchange,
)
from radload.train.ema import Average
from radload.train.export import export_backbone
from radload.train.feed import Fake, Feed
from radload.train.guard import Guard, gradient_norm
from radload.train.judge import check_subgroups, is_judged, judge, summary
from radload.train.learn import make_objective, pieces, real
from radload.train.lines import training_line, validation_line
from radload.train.log import RunLog
from radload.train.meter import Meter
from radload.train.models import build_model, build_optimizer, check_shapes, compiled
from radload.train.options import parse, write_config
from radload.train.predictions import Seen, gather_predictions
from radload.train.resume import find_start, keep_checkpoint, score_of, start_path
from radload.train.schedule import lr_at
from radload.train.self_supervised import Embedder
from radload.train.stages import sizes_of, stages_of
from radload.train.tasks import open_task
from radload.train.trackers import Tracker, open_trackers
from radload.train.validate import validate, validate_views
from radload.train.watchdog import Watchdog


def train(config: Config, ranks: Ranks, stack: ExitStack) -> None:
    """The run, from the first look at the data to the exported backbone.

    Raises:
        RadloadError: the options, the data or the run's folder do not allow it, or the loss is not finite.
    """
    device, out = ranks.device, Path(config.out)
    watchdog = Watchdog(ranks.rank, ranks.world, config.watchdog_minutes)
    stack.callback(watchdog.close)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")

    # What to learn, and from how much.
    version = ranks.decide(lambda: read_manifest(find_source(config.shards)[0], config.version).generation)
    dataset, task = open_task(config.shards, config.labels, device, version)
    fingerprint, samples = dataset.manifest.fingerprint, dataset.splits
    keys = dataset.index.records["key"]
    check_subgroups(dataset.index, config.subgroup_names)
    dataset.close()  # the shards; the index stays
    config, notes = resolve(
        config, device=device.type, world=ranks.world, samples=samples["train"], bf16=multiplies_bf16(device),
        labelled=not task.stand_in,
    )  # fmt: skip
    notes += [*task.notes(config.supervised), *launch_notes(ranks)]
    batch_size, amp, sizes = config.batch_size or 0, config.amp == "bf16", sizes_of(config.sizes, config.size)
    several: dict[str, Any] = {} if config.supervised else {
        "views": config.views, "local_views": config.local_views, "local_size": config.local_size,
    }  # fmt: skip

    # Batches. Each rank gets its part of every global batch, and all ranks the same number of batches.
    shared: dict[str, Any] = {
        "device": device.type,
        "window": config.loader_window,
        "channels": config.channels,
        "labels": task.labels if config.supervised else False,
        "seed": config.seed,
        "rank": ranks.rank,
        "world_size": ranks.world,
        "threads": config.threads,
        "fit": config.fit,
        "spacing": config.spacing,
        "cache": config.cache,
        "cache_bytes": None if config.cache_gb is None else int(config.cache_gb * 1e9),
        "max_failures": config.max_failures,
        "group": ranks.group,
        "version": version,
        "decode": config.decode,
        "channels_last": config.channels_last,
    }
    kept = None if config.device_cache_gb is None else int(config.device_cache_gb * 1e9)
    augment, mine = config.loader_augment, batch_size // ranks.world
    fake = Fake(mine, len(task.classes), task.multi, **several)

    def open_loader(size: int) -> radload.Loader:
        return radload.Loader(
            config.shards, "train", batch_size=mine, size=size, augment=augment, sampler=config.sampler,
            level_slack=config.level_slack or 1.0, device_cache_bytes=kept, **several, **shared,
        )  # fmt: skip

    feed = Feed(open_loader, sizes[0][0], config.data, fake)
    stack.callback(feed.close)
    val_loader = None
    if config.supervised and task.labelled["val"]:
        val_batch = -(-min(batch_size, samples["val"]) // ranks.world)  # per rank, rounded up
        val_loader = radload.Loader(
            config.shards, "val", batch_size=val_batch, size=config.size, shuffle=False, drop_last=False, **shared
        )
    elif not config.supervised and samples["val"] >= 2 * ranks.world:
        val_batch = min(batch_size, samples["val"]) // ranks.world  # whole batches: views are compared with each other
        val_loader = radload.Loader(
            config.shards,
            "val",
            batch_size=val_batch,
            size=config.size,
            shuffle=False,
            augment=augment,
            **several,
            **shared,
        )
    if val_loader is not None:
        stack.callback(val_loader.close)
    steps_per_epoch = len(feed.loader)
    total = min(steps_per_epoch * (config.epochs or 0), config.max_steps or sys.maxsize)

    # The network, its optimizer, and what it learns. `judged` is validated and exported: the moving average, where there is one.
    channels, classes = feed.loader.channels, len(task.classes) if config.supervised else 0
    resizes = len(sizes) > 1 or config.local_views > 0
    model = build_model(config.arch, channels, classes, config.size, config.seed, resizes)
    shape = (mine // config.accumulate, channels, config.size, config.size)
    for size in {*(size for size, _ in sizes), *([config.local_size] if config.local_views else [])}:
        check_shapes(model, config.arch, (*shape[:2], size, size))
    if not config.supervised:
        model = Embedder(model, shape)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = model.to(device, real(config)).to(memory_format=layout)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(model, config)
    average = Average(model, config.ema) if config.ema else None
    judged = model if average is None else average.module
    modules = [model] if average is None else [model, average.module]
    guard = Guard(modules, optimizer, device, config.max_nonfinite)
    objective = make_objective(config, task, ranks)
    trained = compiled(model, device) if config.compile else model
    rehearsed = pieces(fake.batch(config.size, channels), config.accumulate)[0]
    net = parallel(trained, ranks, lambda net: objective(net, rehearsed, 0).loss)
    unequal = config.supervised and (task.multi or task.unlabelled["train"] > 0)  # numbers of labels in a batch
    meter = Meter(ranks)

    def learn(batch: dict[str, Any], step: int) -> None:
        """One step of all ranks. Nothing in it waits for the device."""
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, total, config.peak_lr, config.warmup)
        set_random_state(device, step_seed(config.seed, step, ranks.rank))
        parts, sums = pieces(batch, config.accumulate), torch.zeros(3, device=device, dtype=real(config))
        for number, part in enumerate(parts, 1):
            with without_exchange(net, last=number == len(parts)):
                outcome = objective(net, part, step)
                torch.autograd.backward(outcome.loss / len(parts))
            sums += torch.stack([outcome.total, outcome.count, outcome.right])
        if unequal:  # the gradient is of the mean over images: make it that over labels, of all ranks
            labels = ranks.sum(sums[1].clone()).clamp(min=1)
            torch._foreach_mul_(
                [parameter.grad for parameter in parameters if parameter.grad is not None], batch_size / labels
            )
        norm = gradient_norm(parameters, config.clip_grad)
        guard.watch(norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average is not None:
            average.update(step)
        meter.add(sums, norm, guard.skipped)

    ceilings: dict[int, float] = {}
    net.train()
    for size, _ in sizes if config.ceiling_steps else ():
        watchdog.doing(f"measures the network at {size} pixels")
        fakes = {name: column.to(device) for name, column in fake.batch(size, channels).items()}
        ceilings[size] = rehearse(
            partial(learn, fakes, 0), config.ceiling_steps or 0, batch_size, modules, optimizer, device
        )

    # Where an earlier run stopped.
    folder = out / "checkpoints"
    step = ranks.decide(lambda: find_start(config, folder, notes))
    if step:
        before = checkpoint.load(start_path(config, folder, step))
        other = before["fingerprint"] != fingerprint and before["loader"]["generation"] == version
        if other or before["classes"] != list(task.classes):
            raise UsageError(f"the run in {out} was made with other shards or labels: give another --out")
        notes += check_resume(before["config"], config)
        model.load_state_dict(before["model"])
        optimizer.load_state_dict(before["optimizer"])
        if average is not None:
            average.module.load_state_dict(before["average"])
        guard.remember()
        feed.loader.load_state_dict(before["loader"], config.allow_new_version)
        if before["loader"]["generation"] != version:
            notes.append(
                f"version {version} of the data set from pass {feed.loader.epoch} on (before: {before['loader']['generation']})"
            )
        del before
    place = feed.loader.state_dict()
    # 0, unless a version with other samples was gone over to: what the step is ahead of the loader's passes.
    ahead = step - (place["epoch"] * steps_per_epoch + place["position"]) if config.data == "real" else 0
    total = min(steps_per_epoch * (config.epochs or 0) + ahead, config.max_steps or sys.maxsize)
    stages = stages_of(sizes, total)
    feed.start(stages, step)

    # The run's folder, and what the user should know before he waits.
    about: dict[str, Any] = {
        "classes": list(task.classes),
        # What `radload.prepare` makes the same pixels by: those of validation, whose levels are never enlarged.
        "preparation": replace(feed.loader.preparation, size=(config.size, config.size), level_slack=1.0).as_dict(),
        "fingerprint": fingerprint,
        "augment": None if augment is None else augment.as_dict(),
    }
    trackers: list[Tracker] = []
    with ranks.leading(), checkpoint.writing("the run's folder", folder):
        if ranks.first:
            out.mkdir(parents=True, exist_ok=True)
            for marker in ("DONE", "STOPPED"):
                (out / marker).unlink(missing_ok=True)
            versions = {"radload": radload.__version__, "torch": torch.__version__, "timm": timm.__version__}
            chosen = {"config": config.as_dict(), "world": ranks.world}
            write_json(out / "run.json", {**chosen, "versions": versions, **about})
            write_config(out / "config.toml", config)
            trackers = open_trackers(out, config.tensorboard, config.wandb, step, config.as_dict())
        log = RunLog(out / "log.jsonl", ranks.first, step, trackers=trackers)
    stack.callback(log.close)
    scale = f" at {config.spacing:g} mm" if config.spacing else ""
    counts = ", ".join(f"{name} {count}" for name, count in samples.items())
    learned = (
        f"{len(task.classes)} classes ({task.name})" if config.supervised else f"{config.objective}, {fake.seen} views"
    )
    log.say(f"data: {counts} samples; {learned}")
    log.say(feed.loader.recipe.describe())
    millions = sum(parameter.numel() for parameter in parameters) / 1e6
    log.say(f"{config.arch}: {millions:.1f} M parameters, images of {channels} x {config.size} x {config.size} ({config.fit}{scale}), "
            f"{config.amp if config.amp != 'off' else 'float32'}, {ranks.world} x {device.type}")  # fmt: skip
    log.say(f"{total} steps of {batch_size} images, {steps_per_epoch} a pass; "
            f"{config.optimizer}, learning rate up to {config.peak_lr:.3g}")  # fmt: skip
    for stage in stages if len(stages) > 1 else ():
        log.say(f"images of {stage.size} pixels up to step {stage.end}")
    for size, ceiling in ceilings.items():
        log.say(f"the network alone, on {size} pixels: {ceiling:.0f} images/s")
    for note in notes:
        log.say("note: " + note)
    if step:
        log.say(f"going on after step {step}")

    scores: list[float | None] = []  # of the last validation

    def look(batches: radload.Loader) -> Seen | None:
        watchdog.doing("validates")
        result, seen = (
            validate(judged, batches, task, keys, ranks, amp, layout)
            if config.supervised
            else (validate_views(judged, batches, objective, ranks), None)
        )
        with ranks.leading(), checkpoint.writing("the log", folder):
            log.write("val", step, epoch=round((step - ahead) / steps_per_epoch, 4), **result)
        log.say(validation_line(step, result))
        scores[:] = [score_of(result)]
        return seen

    # Training. `meter.flush` waits for the device, once per line of the log.
    stop = StopRequest(ranks)
    stack.callback(stop.close)
    stop_every = config.log_every if device.type == "cuda" else 1  # agreeing waits for the device
    began = saved = time.monotonic()
    first_step, stopped = step, False
    meter.doing = watchdog.doing
    meter.restart()
    while step < total and not stopped:
        stage = feed.stage
        for batch in meter.timed(feed):
            learn(batch, step)
            step += 1

            last, epoch_over, due = step == total, (step - ahead) % steps_per_epoch == 0, False
            if step % stop_every == 0:
                stopped, due = stop.agreed(time.monotonic() - saved > 60 * config.checkpoint_minutes)
            save_now = last or stopped or due or epoch_over or step % config.checkpoint_every == 0
            if save_now or step % config.log_every == 0 or step == stage.end:
                lr = optimizer.param_groups[0]["lr"]
                window = meter.flush(batch_size)
                skipped, failing = guard.check(step, config.lr or 0.0, last)
                if stage.size in ceilings:
                    window["ceiling"] = round(window["images_per_s"] / ceilings[stage.size], 4)
                where = {"epoch": round((step - ahead) / steps_per_epoch, 4), "lr": lr, "size": stage.size}
                with ranks.leading(), checkpoint.writing("the log", folder):
                    log.write("train", step, **where, skipped=skipped, **window)
                left = (time.monotonic() - began) / (step - first_step) * (total - step)
                log.say(training_line(step, total, lr, stage.size if len(stages) > 1 else None, skipped, window, left))
                save_now = save_now and not failing  # weights that give no finite loss are none to go on from
            if val_loader is not None and epoch_over and save_now and not last and not stopped:
                look(val_loader)
            if save_now:
                watchdog.doing("writes a checkpoint, or waits for rank 0 that does")
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "loader": feed.loader.state_dict(),
                    "config": config.as_dict(),
                    **({} if average is None else {"average": average.module.state_dict()}),
                    **about,
                }
                score = scores.pop() if scores else None
                ranks.decide(lambda: keep_checkpoint(folder, step, state, config.keep, score))  # noqa: B023
                saved = time.monotonic()
                meter.restart()
            if last or stopped or step == stage.end:
                break

    # The end. DONE is what tells a scheduler that nothing is left to do: torchrun's exit code after SIGTERM does not.
    watchdog.doing("ends")
    if val_loader is not None and step >= total and not ranks.decide(lambda: int(is_judged(out, step))):
        seen = look(val_loader)
        predictions = None if seen is None else gather_predictions(ranks, seen)
        with ranks.leading(), checkpoint.writing("the verdict", folder):
            if seen is None and ranks.first:
                write_json(out / "val.json", {"step": step, "objective": config.objective, "score": scores[-1]})
            if predictions is not None:  # on rank 0
                verdict = judge(out, predictions, task.classes, dataset.index, config.subgroup_names, step)
                log.say(f"verdict on {verdict['patients']} patients never seen: {summary(verdict)}")
            if ranks.first and scores and scores[-1] is not None:
                checkpoint.mark_best(folder, step, scores[-1])
    with ranks.leading(), checkpoint.writing("the end of the run", folder):
        if ranks.first and step >= total:
            backbone = judged.backbone if isinstance(judged, Embedder) else judged
            export_backbone(backbone, out, config.arch, channels, config.size, {"step": step, **about})
            write_json(out / "DONE", {"reason": "all steps done", "step": step})
            log.say(f"done after {step} steps: {out / 'backbone.safetensors'}")
        elif ranks.first:
            write_json(out / "STOPPED", {"reason": "asked to stop by a signal", "step": step})
            log.say(f"stopped after step {step} of {total}: the same command goes on from here")


@record
def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0 finished or stopped on request, 2 what the user can put right."""
    try:
        config = parse(argv)
        ranks = join(config.device)
        with ExitStack() as stack:
            stack.callback(leave)
            try:
                train(config, ranks, stack)
            except RankZeroFailed:
                return 2
            except RadloadError as error:
                if ranks.first:
                    sys.stderr.write(f"error: {error}\n")
                elif not isinstance(error, UsageError | AgreedEnd):  # those are the same on all ranks
                    sys.stderr.write(f"error on rank {ranks.rank}: {error}\n")
                return 2
    except RadloadError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    end(main() or 0)
