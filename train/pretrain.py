"""Trains a timm network on a packed data set. Reads from top to bottom.

    torchrun train/pretrain.py                                  # ./shards, every GPU's worth of defaults; one process
    torchrun --nproc-per-node=8 train/pretrain.py --shards /data/shards --out runs/a --arch densenet121
    python train/pretrain.py --help

The run's folder (--out) holds run.json (options, windows, classes), log.jsonl, checkpoints/, backbone.safetensors with
backbone.json, val.json and predictions.npz of the last validation, and in the end DONE (or STOPPED after SIGTERM or Ctrl-C).
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
from pathlib import Path
from typing import Any

import timm
import torch
from torch.distributed.elastic.multiprocessing.errors import record

import radload
from radload.dataset.files import write_json
from radload.dataset.manifest import read_manifest
from radload.errors import AgreedEnd, RadloadError, UsageError
from radload.train import checkpoint
from radload.train.config import Config, check_resume, parse, resolve
from radload.train.distributed import (
    Ranks,
    RankZeroFailed,
    StopRequest,
    join,
    leave,
    multiplies_bf16,
    parallel,
    step_seed,
)
from radload.train.export import export_backbone
from radload.train.judge import check_subgroups, is_judged, judge, summary
from radload.train.log import RunLog
from radload.train.meter import Meter
from radload.train.models import build_model, build_optimizer, check_shapes
from radload.train.objective import correct, loss_sum, mean_loss
from radload.train.predictions import Seen, gather_predictions
from radload.train.schedule import lr_at
from radload.train.tasks import open_task
from radload.train.validate import validate


def train(config: Config, ranks: Ranks, stack: ExitStack) -> None:
    """The run, from the first look at the data to the exported backbone.

    Raises:
        RadloadError: the options, the data or the run's folder do not allow it, or the loss is not finite.
    """
    device, out = ranks.device, Path(config.out)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")

    # What to learn, and from how much.
    version = ranks.decide(lambda: read_manifest(Path(config.shards), config.version).generation)
    dataset, task = open_task(config.shards, config.labels, device, version)
    fingerprint, samples = dataset.manifest.fingerprint, dataset.splits
    keys = dataset.index.records["key"]
    check_subgroups(dataset.index, config.subgroup_names)
    dataset.close()  # the shards; the index stays
    config, notes = resolve(
        config, device=device.type, world=ranks.world, samples=samples["train"], bf16=multiplies_bf16(device)
    )
    notes += task.notes()
    batch_size, amp = config.batch_size or 0, config.amp == "bf16"

    # Batches. Each rank gets its part of every global batch, and all ranks the same number of batches.
    shared: dict[str, Any] = {
        "size": config.size,
        "device": device.type,
        "window": config.loader_window,
        "channels": config.channels,
        "labels": task.labels,
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
    }
    augment = config.loader_augment
    loader = radload.Loader(
        config.shards, "train", batch_size=batch_size // ranks.world, augment=augment, sampler=config.sampler,
        level_slack=config.level_slack or 1.0, **shared,
    )  # fmt: skip
    stack.callback(loader.close)
    val_loader = None
    if task.labelled["val"]:
        val_batch = -(-min(batch_size, samples["val"]) // ranks.world)  # per rank, rounded up
        val_loader = radload.Loader(
            config.shards, "val", batch_size=val_batch, shuffle=False, drop_last=False, **shared
        )
        stack.callback(val_loader.close)
    steps_per_epoch = len(loader)

    # The network and its optimizer.
    channels = loader.recipe.channels
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = build_model(config.arch, channels, len(task.classes), config.size, config.seed)
    shape = (batch_size // ranks.world, channels, config.size, config.size)
    check_shapes(model, config.arch, shape)
    model = model.to(device).to(memory_format=layout)
    optimizer = build_optimizer(model, config)
    net = parallel(model, ranks, torch.zeros(shape, device=device).contiguous(memory_format=layout), amp)

    # Where an earlier run stopped.
    folder = out / "checkpoints"
    step = ranks.decide(lambda: find_start(config, folder, notes))
    if step:
        before = checkpoint.load(start_path(config, folder, step))
        notes += check_resume(before["config"], config)
        other = before["fingerprint"] != fingerprint and before["loader"]["generation"] == version
        if other or before["classes"] != list(task.classes):
            raise UsageError(f"the run in {out} was made with other shards or labels: give another --out")
        model.load_state_dict(before["model"])
        optimizer.load_state_dict(before["optimizer"])
        loader.load_state_dict(before["loader"], config.allow_new_version)
        if before["loader"]["generation"] != version:
            notes.append(
                f"version {version} of the data set from pass {loader.epoch} on (before: {before['loader']['generation']})"
            )
        del before
    place = loader.state_dict()
    # 0, unless a version with other samples was gone over to: what the step is ahead of the loader's passes.
    ahead = step - (place["epoch"] * steps_per_epoch + place["position"])
    total = min(steps_per_epoch * (config.epochs or 0) + ahead, config.max_steps or sys.maxsize)

    # The run's folder, and what the user should know before he waits.
    about: dict[str, Any] = {
        "classes": list(task.classes),
        # What `radload.prepare` makes the same pixels by: those of validation, whose levels are never enlarged.
        "preparation": replace(loader.preparation, level_slack=1.0).as_dict(),
        "fingerprint": fingerprint,
        "augment": None if augment is None else augment.as_dict(),
    }
    if ranks.first:
        out.mkdir(parents=True, exist_ok=True)
        for marker in ("DONE", "STOPPED"):
            (out / marker).unlink(missing_ok=True)
        versions = {"radload": radload.__version__, "torch": torch.__version__, "timm": timm.__version__}
        write_json(out / "run.json", {"config": config.as_dict(), "world": ranks.world, "versions": versions, **about})
    log = RunLog(out / "log.jsonl", ranks.first, step)
    stack.callback(log.close)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    log.say(f"data: {', '.join(f'{name} {count}' for name, count in samples.items())} samples; "
            f"{len(task.classes)} classes ({task.name})")  # fmt: skip
    log.say(loader.recipe.describe())
    scale = f" at {config.spacing:g} mm" if config.spacing else ""
    log.say(f"{config.arch}: {parameters:.1f} M parameters, images of {channels} x {config.size} x {config.size} ({config.fit}{scale}), "
            f"{config.amp if amp else 'float32'}, {ranks.world} x {device.type}")  # fmt: skip
    log.say(f"{total} steps of {batch_size} images, {steps_per_epoch} a pass; "
            f"{config.optimizer}, learning rate up to {config.peak_lr:.3g}")  # fmt: skip
    for note in notes:
        log.say("note: " + note)
    if step:
        log.say(f"going on after step {step}")

    # Training. Nothing in a step waits for the device; `meter.flush` does, once per line of the log.
    stop = StopRequest(ranks)
    stack.callback(stop.close)
    stop_every = config.log_every if device.type == "cuda" else 1  # agreeing waits for the device
    meter, stopped, began, first_step = Meter(ranks), False, time.monotonic(), step

    def look(batches: radload.Loader) -> Seen:
        result, seen = validate(model, batches, task, keys, ranks, amp, layout)
        log.write("val", step, epoch=round((step - ahead) / steps_per_epoch, 4), **result)
        log.say(validation_line(step, result))
        return seen

    net.train()
    while step < total and not stopped:
        for batch in meter.timed(loader):
            lr = lr_at(step, total, config.peak_lr, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr
            torch.manual_seed(step_seed(config.seed, step, ranks.rank))
            image = batch["image"].to(device, non_blocking=True).contiguous(memory_format=layout)
            target = task.targets(batch, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                logits = net(image)
            logits = logits.float()
            loss, labels = loss_sum(logits, target, config.label_smoothing)
            torch.autograd.backward(mean_loss(loss, labels))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            meter.add(loss, labels, correct(logits.detach(), target))
            step += 1

            last = step == total
            epoch_over = (step - ahead) % steps_per_epoch == 0
            if step % stop_every == 0:
                stopped = stop.agreed()
            save_now = last or stopped or epoch_over or step % config.checkpoint_every == 0
            if save_now or step % config.log_every == 0:
                window = meter.flush(batch_size)
                log.write("train", step, epoch=round((step - ahead) / steps_per_epoch, 4), lr=lr, **window)
                left = (time.monotonic() - began) / (step - first_step) * (total - step)
                log.say(
                    f"step {step}/{total}  loss {window['loss']:.4f}  accuracy {window['accuracy']:.3f}  lr {lr:.2e}  "
                    f"{window['images_per_s']:.0f} images/s  waiting for data {window['data_wait']:.1%}  {duration(left)} left"
                )
                if window["loss"] - window["loss"] != 0:  # NaN or infinite, the same on all ranks
                    if not ranks.first:
                        raise RankZeroFailed("the loss is not finite")
                    raise RadloadError(
                        f"the loss is not finite at step {step}: start again with a smaller --lr (now {config.lr:g}); "
                        "the checkpoints before this step are whole"
                    )
            if val_loader is not None and epoch_over and not last and not stopped:
                look(val_loader)
            if save_now:
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "loader": loader.state_dict(),
                    "config": config.as_dict(),
                    **about,
                }
                if ranks.first:
                    checkpoint.save(folder, step, state, config.keep)
                del state
                meter.pause()
            if last or stopped:
                break

    # The end. DONE is what tells a scheduler that nothing is left to do: torchrun's exit code after SIGTERM does not.
    if val_loader is not None and step >= total and not ranks.decide(lambda: int(is_judged(out, step))):
        predictions = gather_predictions(ranks, look(val_loader))
        if predictions is not None:  # on rank 0
            verdict = judge(out, predictions, task.classes, dataset.index, config.subgroup_names, step)
            log.say(f"verdict on {verdict['patients']} patients never seen: {summary(verdict)}")
    if ranks.first and step >= total:
        export_backbone(model, out, config.arch, channels, config.size, {"step": step, **about})
        write_json(out / "DONE", {"reason": "all steps done", "step": step})
        log.say(f"done after {step} steps: {out / 'backbone.safetensors'}")
    elif ranks.first:
        write_json(out / "STOPPED", {"reason": "asked to stop by a signal", "step": step})
        log.say(f"stopped after step {step} of {total}: the same command goes on from here")


def find_start(config: Config, folder: Path, notes: list[str]) -> int:
    """Step of the checkpoint to start from, 0 for a new run. Runs on rank 0.

    Raises:
        UsageError: --resume never, but there is a run; or --resume names what is no checkpoint.
    """
    if config.resume not in ("auto", "never"):
        return checkpoint.step_of(Path(config.resume))
    if config.resume == "never":
        if checkpoint.known(folder):
            raise UsageError(f"--resume never, but {config.out} holds a run: give another --out, or remove it")
        return 0
    path, damaged = checkpoint.newest(folder)
    notes += damaged
    return checkpoint.step_of(path) if path is not None else 0


def start_path(config: Config, folder: Path, step: int) -> Path:
    """The file of the checkpoint to start from."""
    return checkpoint.path_of(folder, step) if config.resume == "auto" else Path(config.resume)


def validation_line(step: int, result: dict[str, Any]) -> str:
    """The metrics of a validation for the console."""
    names = [name for name in ("loss", "top1", "top5", "balanced_accuracy", "auroc") if result.get(name) is not None]
    short = f"  ({result['unreadable']} samples cannot be read and are left out)" if result["unreadable"] else ""
    return f"validation at step {step}: " + "  ".join(f"{name} {result[name]:.4f}" for name in names) + short


def duration(seconds: float) -> str:
    """ "3 h 20 min", "20 min" or "20 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


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
    sys.exit(main())
