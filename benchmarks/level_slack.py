"""Does training on smaller resolution levels cost anything on a task that needs detail? Decides the default of `--level-slack`.

    python benchmarks/level_slack.py --out runs/slack                       # 40 to 90 minutes on two cores; goes on where it stopped
    python benchmarks/level_slack.py --out runs/slack --arms 1.0 1.5 --seeds 0 1 2

The data set is `detail_phantoms`; a small network is trained from nothing on random resized crops of 112 pixels, once per seed
and arm: a level_slack, or "full" (no levels at all). Everything else is the same to the bit: images, order, crops, flips, first
weights. It is judged on unseen patients, whole images, with level_slack 1.0 and in full. Arm 4.0 is the control: half of
the output's resolution or less, so it has to lose, or the task needs no detail. The loaders are timed alone before, in turns.
Decision 140 has the outcome.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detail_phantoms import CLASSES, pack_detail
from torch import Tensor, nn

import radload
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.train.metrics import auroc

SIZE, BATCH = 112, 48
ARMS = ("full", "1.0", "1.25", "1.5", "2.0", "4.0")
BASE = "1.0"


def arm_options(arm: str) -> dict[str, Any]:
    """The Loader's arguments that an arm changes."""
    return {"resolution": "full"} if arm == "full" else {"level_slack": float(arm)}


def training_loader(shards: Path, arm: str, seed: int) -> radload.Loader:
    """Random resized crops and flips of the training split."""
    return radload.Loader(
        shards, batch_size=BATCH, size=SIZE, window="lung", channels=1, augment="default", seed=seed, threads=1,
        **arm_options(arm),
    )  # fmt: skip


def level_mix(shards: Path, arm: str, epochs: int = 5) -> dict[int, float]:
    """Share of the training draws that each level serves."""
    options: dict[str, Any] = {"level_slack": 1.0, "resolution": "auto"} | arm_options(arm)
    with radload.open(shards) as dataset:
        wanted = Settings((SIZE, SIZE), make_recipe("lung", 1), "float32", augment="default", seed=0, **options)
        planner = Planner(dataset.index, wanted)
        rows = np.array(dataset.index.ranges["train"])
        levels = np.concatenate([planner.plan(rows, epoch, np.arange(len(rows))).levels for epoch in range(epochs)])
    return {int(level): float((levels == level).mean()) for level in np.unique(levels)}


def network() -> nn.Module:
    """Six convolutions: as much as learns this task on a CPU in a minute or two."""

    def block(before: int, after: int, stride: int, kernel: int = 3) -> list[nn.Module]:
        convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]

    layers = [*block(1, 16, 2, 5), *block(16, 32, 2), *block(32, 32, 1), *block(32, 64, 2), *block(64, 64, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(CLASSES)))


def train(shards: Path, arm: str, seed: int, epochs: int, lr: float) -> nn.Module:
    """One run."""
    torch.manual_seed(seed)
    model = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    with training_loader(shards, arm, seed) as loader:
        total, step = epochs * len(loader), 0
        for _ in range(epochs):
            for batch in loader:
                warm = min(1.0, (step + 1) / (0.1 * total))
                optimizer.param_groups[0]["lr"] = lr * warm * 0.5 * (1 + math.cos(math.pi * step / total))
                loss = nn.functional.cross_entropy(model(batch["image"]), batch["label"], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
    return model.eval()


@torch.inference_mode()
def judge(model: nn.Module, shards: Path, **options: Any) -> dict[str, float]:
    """Balanced accuracy, macro AUROC and the recall of each class on the unseen patients' whole images."""
    with radload.open(shards) as dataset:
        classes = dataset.classes
    logits, labels = list[Tensor](), list[Tensor]()
    with radload.Loader(
        shards, "val", batch_size=BATCH, size=SIZE, window="lung", channels=1, shuffle=False, drop_last=False, threads=1,
        **options,
    ) as loader:  # fmt: skip
        for batch in loader:
            logits.append(model(batch["image"][batch["valid"]]))
            labels.append(batch["label"][batch["valid"]])
    scores, targets = torch.cat(logits).softmax(1), torch.cat(labels)
    hits = scores.argmax(1) == targets
    recall = [float(hits[targets == k].double().mean()) for k in range(len(classes))]
    area = [float(auroc(scores[:, k].contiguous(), targets == k)) for k in range(len(classes))]
    return {
        "accuracy": statistics.mean(recall),
        "auroc": statistics.mean(area),
        **dict(zip(classes, recall, strict=True)),
    }


def speeds(shards: Path, arms: Sequence[str], rounds: int = 7) -> dict[str, dict[str, float]]:
    """Images per second and per CPU second of the loader process of each arm alone; medians over rounds in which all take turns."""
    loaders = {arm: training_loader(shards, arm, 0) for arm in arms}
    found: dict[str, list[float]] = {arm: [] for arm in arms}
    try:
        for turn in range(rounds + 1):
            for arm, loader in loaders.items():
                began, images = time.perf_counter(), 0
                for batch in loader:
                    images += len(batch["image"])
                if turn:  # the first compiles and fills the page cache
                    found[arm].append(images / (time.perf_counter() - began))
    finally:
        for loader in loaders.values():
            loader.close()
    base = found[BASE] if BASE in found else next(iter(found.values()))
    return {
        arm: {
            "rate": statistics.median(rates),
            "ratio": statistics.median(a / b for a, b in zip(rates, base, strict=True)),
        }
        for arm, rates in found.items()
    }


def table(runs: Sequence[dict[str, Any]], mix: dict[str, dict[int, float]], speed: dict[str, Any]) -> list[str]:
    """Markdown: per arm its levels, its speed, mean and deviation of the scores, and the paired difference to arm 1.0."""
    lines = [
        "| arm | levels of the draws | images/s | accuracy | AUROC | AUROC in full | AUROC - that of 1.0, same seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    base = {run["seed"]: run["auto"]["auroc"] for run in runs if run["arm"] == BASE}
    for arm in mix:
        mine = [run for run in runs if run["arm"] == arm]
        if not mine:
            continue
        levels = ", ".join(f"{level}: {share:.0%}" for level, share in mix[arm].items())
        pairs = [run["auto"]["auroc"] - base[run["seed"]] for run in mine if run["seed"] in base]
        scores = [
            spread([run[level][name] for run in mine])
            for level, name in (("auto", "accuracy"), ("auto", "auroc"), ("full", "auroc"))
        ]
        error = statistics.stdev(pairs) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
        difference = (
            "" if arm == BASE or not pairs else f"{statistics.mean(pairs):+.4f} ± {error:.4f} (n = {len(pairs)})"
        )
        rate = f"{speed[arm]['rate']:,.0f} ({speed[arm]['ratio']:.2f} x)"
        lines.append(f"| {arm} | {levels} | {rate} | {' | '.join(scores)} | {difference} |")
    return lines


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{deviation}"


def main() -> None:
    """Makes the data if need be, times the loaders, trains what is not in runs.jsonl yet, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for data, runs.jsonl and table.md")
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--patients", type=int, default=180)
    parser.add_argument("--contrast", type=float, default=50.0, help="deviation of the textures in HU")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shards, log = options.out / "shards", options.out / "runs.jsonl"
    if not (shards / "manifest.json").is_file():
        pack_detail(options.out, options.patients, options.contrast)
    mix = {arm: level_mix(shards, arm) for arm in options.arms}
    speed = speeds(shards, options.arms)
    runs = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    done = {(run["arm"], run["seed"]) for run in runs}
    for seed in options.seeds:
        for arm in options.arms:
            if (arm, seed) in done:
                continue
            began = time.perf_counter()
            model = train(shards, arm, seed, options.epochs, options.lr)
            scores = {"auto": judge(model, shards), "full": judge(model, shards, resolution="full")}
            runs.append({"arm": arm, "seed": seed, **scores, "seconds": time.perf_counter() - began})
            with log.open("a") as file:
                file.write(json.dumps(runs[-1]) + "\n")
            print(
                f"arm {arm:4} seed {seed}: accuracy {scores['auto']['accuracy']:.4f}, AUROC {scores['auto']['auroc']:.4f}, "
                f"{runs[-1]['seconds']:.0f} s",
                flush=True,
            )
    lines = table(runs, mix, speed)
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
