"""What a pretrained network is worth on labelled shards, beside other starting points. Reads from top to bottom.

    python train/probe.py --backbone runs/a --shards knee-shards                               # linear probe beside a random network
    python train/probe.py --backbone runs/a --shards knee-shards --baselines random imagenet.safetensors \\
        --methods linear top full --seeds 5 --out runs/knee
    python train/probe.py --help

The downstream protocol of RadImageNet (Mei et al. 2022): the network frozen under a linear classifier, its top layers fine-tuned, all of
it fine-tuned; several divisions by patient (75, 10 and 15 %); AUROC with an interval over patients; class-activation maps, and
their Dice with the masks beside the slices. The folder --out holds probe.json, probe.md (the table) and cam/NETWORK-METHOD/KEY.png.
docs/transfer.md says more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import radload
from radload.dataset.files import atomic_file, write_json
from radload.errors import RadloadError, UsageError
from radload.loading.preparation import Preparation
from radload.train.backbones import RANDOM, Backbone, make_backbone, open_about
from radload.train.bootstrap import as_text
from radload.train.distributed import multiplies_bf16
from radload.train.divide import CHOOSE, FIT, OUT, PACKED, PATIENTS, TEST, divide, read_targets
from radload.train.features import extract
from radload.train.finetune import TOP, Probe, finetune, predict
from radload.train.linear import fit_linear
from radload.train.output import writing_to
from radload.train.overlap import overlap
from radload.train.paired import Answers, closed, difference, judge_divisions, make_weights
from radload.train.probe_config import AUTO, LINEAR, ProbeConfig, parse_probe


def probe(config: ProbeConfig, stack: ExitStack) -> dict[str, Any]:
    """The comparison, from the first look at the data to probe.json, whose content it returns.

    Raises:
        RadloadError: the options, the data or the networks do not allow it.
    """
    cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    device, out = torch.device("cuda" if cuda else "cpu"), Path(config.out)
    amp = config.amp == "bf16" or (config.amp == "auto" and multiplies_bf16(device))

    # What the network is, and the pixels that it knows.
    found = open_about(config.backbone)
    about: dict[str, Any] = {} if found is None else found[1]
    arch = about.get("arch", config.arch)
    if arch is None:
        raise UsageError(f"{config.backbone} does not say which network it holds: give its timm name as --arch")
    if config.arch not in (None, arch):
        raise UsageError(f"--arch {config.arch} is not what {config.backbone} holds: give the timm name of its network")
    known = Preparation.from_dict(about["preparation"]) if "preparation" in about else None
    pixels: dict[str, Any] = {
        "size": config.size or about.get("size", 224),
        "window": config.loader_window,
        "channels": config.channels or 3,
    }
    if known is not None:
        if config.channels not in (None, known.recipe.channels) and config.window is None:
            raise UsageError(
                f"--channels {config.channels} needs a --window: those of the run have {known.recipe.channels}"
            )
        pixels = {
            "size": config.size or known.size,
            "window": config.loader_window or known.recipe,
            "channels": config.channels or known.recipe.channels,
            "level_slack": known.level_slack,
            "resolution": known.resolution,
            "fit": known.fit,
            "spacing": known.spacing,
            "neighbours": known.neighbours.count,
            "neighbour_spacing": known.neighbours.spacing,
            "neighbour_edges": known.neighbours.edges,
        }

    # What the images show, and who is divided how. The patients of the pretraining are no strangers to the network.
    dataset = radload.open(config.shards, config.labels)
    stack.callback(dataset.close)
    targets = read_targets(dataset)
    index, keys = dataset.index, dataset.index.records["key"]
    same = about.get("fingerprint") == dataset.manifest.fingerprint
    division = (PACKED if same else PATIENTS) if config.division == AUTO else config.division
    if same and division == PATIENTS:
        raise UsageError(
            f"{config.backbone} was trained on these shards, and knows patients that --division patients would test on: use packed"
        )
    parts = [divide(targets, index, division, seed) for seed in range(config.seeds)]
    codes, classes = torch.from_numpy(targets.codes), len(targets.classes)

    # One loader for evaluation and one for training, over all splits: a division by patient cuts across them.
    shared: dict[str, Any] = {
        "batch_size": min(config.batch_size, len(keys)),
        "device": device.type,
        "labels": False,
        "threads": config.threads,
        "cache": config.cache,
        **pixels,
    }
    has_mask = None if index.masks is None else index.masks["length"] > 0
    still = radload.Loader(config.shards, None, shuffle=False, drop_last=False, masks=has_mask is not None, **shared)
    stack.callback(still.close)
    side = still.preparation.size[0]
    make = partial(make_backbone, arch=arch, in_chans=still.channels, size=side, recipe=still.recipe)
    names = {_name(given, place): given for place, given in enumerate((config.backbone, *config.baselines))}
    networks: dict[str, list[Backbone]] = {  # one per seed: a random network is another one each time
        name: [make(given, seed=seed).to(device) for seed in range(config.seeds if given == RANDOM else 1)]
        for name, given in names.items()
    }
    say(f"{arch} on {int((parts[0] != OUT).sum())} labelled samples of {len(set(targets.patients[targets.labelled]))} patients, "
        f"{classes} classes; {config.seeds} divisions ({division})")  # fmt: skip

    with writing_to(out):  # before the work of hours
        out.mkdir(parents=True, exist_ok=True)

    # Scores of every network, by every method, on the test part of every division.
    tested: dict[tuple[str, str], list[Answers]] = {}
    fitted: dict[tuple[str, str], Probe] = {}  # of the first division, for the maps
    if LINEAR in config.methods:
        flat = {f"{name}/{seed}": net for name, nets in networks.items() for seed, net in enumerate(nets)}
        rows, features = extract(flat, still, targets.labelled, device, amp)
        for name, nets in networks.items():
            for seed, part in enumerate(parts):
                values = features[f"{name}/{seed % len(nets)}"]
                fit, choose, test = (torch.from_numpy(part[rows] == code) for code in (FIT, CHOOSE, TEST))
                head = fit_linear(values[fit], codes[rows][fit], values[choose], codes[rows][choose], classes)
                scores = values[test] @ head.weight.T + head.bias
                tested.setdefault((name, LINEAR), []).append(
                    Answers(rows[test.numpy()], to_scores(scores, targets.multi))
                )
                if seed == 0:
                    fitted[name, LINEAR] = Probe(nets[0], head.as_layer()).to(device).eval()
            say(f"{name}, {LINEAR}: done")
        del features
    tuning = [method for method in config.methods if method != LINEAR]
    if tuning:
        augment = None if config.augment == "none" else config.augment
        moving = radload.Loader(config.shards, None, augment=augment, **shared)
        stack.callback(moving.close)
    for method in tuning:
        for name, nets in networks.items():
            for seed, part in enumerate(parts):
                moving.set_epoch(seed * config.epochs)  # the same batches for all networks, others in each division
                tuned, losses = finetune(
                    nets[seed % len(nets)], method, config.top_layers, moving, lambda: still, part, targets.codes, classes,
                    steps=len(moving), epochs=config.epochs, lr=config.lr_top if method == TOP else config.lr_full,
                    seed=seed, device=device, amp=amp,
                )  # fmt: skip
                where, scores = predict(tuned, still, part == TEST, device, amp)
                tested.setdefault((name, method), []).append(Answers(where, to_scores(scores, targets.multi)))
                if seed == 0:
                    fitted[name, method] = tuned
                best = losses.index(min(losses))
                say(f"{name}, {method}, division {seed}: lowest loss {losses[best]:.4f} after epoch {best + 1}")

    # The verdict, every network on the same draws of patients.
    weights = make_weights(targets.patients, sum(len(one.rows) for one in next(iter(tested.values()))), classes)
    judged = {pair: judge_divisions(tests, targets, weights) for pair, tests in tested.items()}
    first = next(iter(names))
    results: list[dict[str, Any]] = []
    for (name, method), one in judged.items():
        others = {other: judged[other, method] for other in names if other != first} if name == first else {}
        row: dict[str, Any] = {
            "network": name,
            "method": method,
            "auroc": one.auroc.as_dict(),
            "divisions": _plain(one.areas[0]),
        }
        row["auroc_by_class"] = dict(zip(targets.classes, _plain(one.classes), strict=True))
        row["more_than"] = {other: difference(one, them).as_dict() for other, them in others.items()}
        row["closes"] = {other: closed(one, them) for other, them in others.items()}
        if config.pictures or has_mask is not None:
            folder = out / "cam" / f"{name}-{method}"
            try:
                with writing_to(out):
                    row["overlap"] = overlap(
                        fitted[name, method], still, parts[0], targets, keys, weights, device, folder, config.pictures, has_mask
                    )  # fmt: skip
            except UsageError as error:  # a network without feature maps: the figures above are worth having
                say(f"note: no class-activation maps: {error}")
                row["overlap"] = None
        results.append(row)
    content = {
        "config": config.as_dict(),
        "arch": arch,
        "networks": names,
        "classes": list(targets.classes),
        "division": division,
        "fingerprint": dataset.manifest.fingerprint,
        "preparation": still.preparation.as_dict(),
        "draws": len(weights) - 1,
        "results": results,
    }
    with writing_to(out):
        write_json(out / "probe.json", content)
        with atomic_file(out / "probe.md") as file:
            file.write(table(results).encode())
    say(table(results) + f"\nin {out / 'probe.json'}")
    return content


def to_scores(logits: torch.Tensor, multi: bool) -> Any:
    """(n, K) float32 that orders samples like their probability: the logits of several labels, else log-probabilities."""
    return (logits if multi else logits.log_softmax(dim=1)).numpy()


def table(results: Sequence[dict[str, Any]]) -> str:
    """The result as a Markdown table: a row per network and method."""
    others = sorted({other for row in results for other in row["more_than"]})
    head = ["network", "method", "AUROC (95 %)", *(f"more than {other} (95 %)" for other in others), "Dice (95 %)"]
    lines = [head, ["---"] * len(head)]
    for row in results:
        gains = [as_text(row["more_than"].get(other), "+.3f") for other in others]
        seen = (row.get("overlap") or {}).get("dice")
        lines.append([row["network"], row["method"], as_text(row["auroc"]), *gains, as_text(seen)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def say(text: str) -> None:
    """A line for the user."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _name(given: str, place: int) -> str:
    """A short name for the table and for folders: `random`, or that of the file or folder, with its place among the baselines."""
    if given == RANDOM:
        return given
    path = Path(given).resolve()
    name = path.parent.name if path.name == "backbone.json" else path.stem if path.is_file() else path.name
    return f"{name}-{place}" if place or name == RANDOM else name


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    """For JSON, which has no NaN."""
    return [float(value) if value == value else None for value in values]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0 finished, 2 what the user can put right."""
    try:
        config = parse_probe(argv)
        with ExitStack() as stack:
            probe(config, stack)
    except RadloadError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
