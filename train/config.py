"""What a run is: one frozen dataclass, filled from the command line and saved in the run's folder.

Options whose default is None depend on the device or on the optimizer; `resolve` fills them once these are known.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from radload.errors import UsageError
from radload.loading.augment import AUTO, JITTER, Augment
from radload.loading.fit import FITS, MAX_SPACING, MIN_SPACING, check_fit
from radload.loading.levels import MAX_SLACK, MIN_SLACK
from radload.loading.recipe import read_window

CROP_SLACK = 1.5  # decision 101: networks that have to see fine detail learn no less, and a crop costs half
NO_LABELS = "none"  # --labels none: train on the stand-in classes although there is a label set


def _option(default: Any, text: str, *, identity: bool = False, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"text": text, "identity": identity, "choices": choices})


@dataclass(frozen=True)
class Config:
    """Options of a training run. Those marked `identity` must not change when a run is resumed."""

    shards: str = _option("shards", "data set that `radload pack --out` wrote")
    out: str = _option("runs/default", "folder of the run: log, checkpoints, exported backbone")
    labels: str | None = _option(None, "label set; by default the data set's own, `none`: modality and body part")
    arch: str = _option("resnet50", "network, by its timm name", identity=True)
    size: int = _option(224, "side of the square images, pixels", identity=True)
    channels: int = _option(3, "channels (windows) per image, 3 or 1", identity=True)
    window: str | None = _option(
        None, "windows: a preset, `file`, or --window=CENTRE,WIDTH (default: the recipe per modality)", identity=True
    )
    augment: str = _option(
        "default", "random resized crops, flips and window jitter, or none", identity=True, choices=("default", "none")
    )
    batch_size: int | None = _option(
        None, "images per step over all processes (default: 256 on a GPU, 32 on the CPU)", identity=True
    )
    epochs: int | None = _option(None, "passes over the data (default: 30 on a GPU, 10 on the CPU)")
    max_steps: int | None = _option(None, "end after so many steps if the epochs are not over by then")
    optimizer: str = _option("sgd", "optimizer", identity=True, choices=("sgd", "adamw"))
    lr: float | None = _option(
        None,
        "learning rate per 256 images of the batch; the rate used is lr x batch / 256 (default: sgd 0.125, adamw 2.5e-4)",
    )
    weight_decay: float | None = _option(None, "never on norms and biases (default: sgd 5e-5, adamw 0.05)")
    warmup: float = _option(0.05, "share of all steps in which the learning rate rises")
    label_smoothing: float = _option(0.1, "label smoothing, for one label per image")
    amp: str = _option(
        "auto",
        "bfloat16 autocast; auto: where the hardware multiplies bfloat16 matrices",
        choices=("auto", "bf16", "off"),
    )
    channels_last: bool = _option(True, "keep images as NHWC in memory")
    device: str = _option("auto", "auto takes the GPUs that are there", choices=("auto", "cpu", "cuda"))
    seed: int = _option(0, "of the weights, the order and the augmentation", identity=True)
    threads: int | None = _option(None, "threads of each process's loader (default: its share of the cores)")
    log_every: int = _option(10, "steps between lines of the log")
    checkpoint_every: int = _option(500, "steps between checkpoints; the end of an epoch always has one")
    keep: int = _option(2, "checkpoints kept")
    resume: str = _option("auto", "auto: go on where the run in --out stopped; never; or a checkpoint")
    fit: str | None = _option(
        None, "how images are laid into the square (default: stretch; pad with --spacing)", identity=True, choices=FITS
    )
    spacing: float | None = _option(None, "millimetres per pixel of the square images", identity=True)
    sampler: str = _option(
        "uniform",
        "each image once per epoch, classes in equal shares, one image per patient and epoch, or each image once but read in runs",
        identity=True,
        choices=("uniform", "balanced", "patient", "blocks"),
    )
    cache: str | None = _option(
        None,
        "folder of this machine for decoded images, shared by all its processes and runs (/dev/shm/NAME: in memory)",
    )
    cache_gb: float | None = _option(
        None, "GB of the cache on each machine (default: 8, or half of what is free where that is less)"
    )
    max_failures: float = _option(
        0.01, "images per epoch, over all processes, that may be unreadable: a fraction below 1, or a number"
    )
    subgroups: str = _option(
        "manufacturer", "attributes by whose values the last validation is told apart, with commas; none: an empty text"
    )
    flip: bool | None = _option(
        None, "mirror half of the images (default: where it destroys no meaning, see docs/loading.md)", identity=True
    )
    window_jitter: float = _option(
        JITTER[0], "the window moves by up to this share of its width; its width changes as much", identity=True
    )
    rotate: float = _option(0.0, "rotate by up to so many degrees either way", identity=True)
    gamma: float = _option(0.0, "grey values to the power of exp(-gamma) to exp(gamma)", identity=True)
    noise: float = _option(0.0, "largest deviation of normal noise, as a share of the window", identity=True)
    level_slack: float | None = _option(
        None,
        f"how far training may enlarge a resolution level (default: {CROP_SLACK} for crops of random scale, else 1.0: never)",
        identity=True,
    )

    version: int | None = _option(None, "version of the data set, by its number (default: the current one)")
    allow_new_version: bool = _option(
        False, "resume with another version of the data set than the run had: from the start of the next pass"
    )

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON-able values."""
        return asdict(self)

    @property
    def peak_lr(self) -> float:
        """The learning rate after warm-up, by the linear scaling rule (Goyal et al. 2017): lr x batch size / 256."""
        return (self.lr or 0.0) * (self.batch_size or 0) / 256

    @property
    def subgroup_names(self) -> tuple[str, ...]:
        """`subgroups` as names."""
        return tuple(name.strip() for name in self.subgroups.split(",") if name.strip())

    @property
    def loader_window(self) -> str | tuple[float, float] | None:
        """`window` as the Loader takes it: None, a name, or (centre, width)."""
        return read_window(self.window)

    @property
    def loader_augment(self) -> Augment | None:
        """The augmentation as the Loader takes it. Raises UsageError for one that cannot be."""
        if self.augment == "none":
            return None
        return Augment(
            flip=AUTO if self.flip is None else self.flip,
            rotate=self.rotate,
            window_jitter=self.window_jitter,
            gamma=self.gamma,
            noise=self.noise,
        )


def parse(argv: Sequence[str] | None = None) -> Config:
    """Options from the command line (`sys.argv` for None). Ends the program with code 2 where argparse cannot read them.

    Raises:
        UsageError: a value that no run can have.
    """
    parser = argparse.ArgumentParser(
        prog="pretrain.py", description="Trains a network on packed radiology images.", allow_abbrev=False
    )
    hints = get_type_hints(Config)
    for option in fields(Config):
        flag, text = "--" + option.name.replace("_", "-"), option.metadata["text"]
        if option.default is not None:
            text += " (default: %(default)s)"
        if bool in (hints[option.name], *get_args(hints[option.name])):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=text)
            continue
        kind = next((part for part in get_args(hints[option.name]) if part is not type(None)), hints[option.name])
        choices = option.metadata["choices"] or None
        parser.add_argument(flag, type=kind, default=option.default, choices=choices, help=text)
    return check(Config(**vars(parser.parse_args(argv))))


def check(config: Config) -> Config:
    """Refuse values that no run can have. Raises UsageError."""
    for name in ("size", "batch_size", "epochs", "max_steps", "threads", "log_every", "checkpoint_every", "keep"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a whole number of at least 1")
    for name in ("lr", "weight_decay"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a number that is not negative")
    if config.spacing is not None and not MIN_SPACING <= config.spacing <= MAX_SPACING:
        raise UsageError(
            f"--spacing {config.spacing} cannot be used: give millimetres per pixel, {MIN_SPACING} to {MAX_SPACING}"
        )
    if config.cache_gb is not None and (config.cache is None or not 0.01 <= config.cache_gb < 1e9):
        raise UsageError(f"--cache-gb {config.cache_gb:g} cannot be used: give 0.01 or more, and a folder with --cache")
    if not 0 <= config.max_failures < float("inf"):
        raise UsageError(f"--max-failures {config.max_failures} cannot be used: give a fraction below 1, or a number")
    for name in ("warmup", "label_smoothing"):
        if not 0 <= getattr(config, name) < 1:
            raise UsageError(
                f"--{name.replace('_', '-')} {getattr(config, name)} cannot be used: give a share from 0 up to 1"
            )
    if config.channels not in (1, 3):
        raise UsageError(f"--channels {config.channels} cannot be used: give 1 or 3")
    if config.level_slack is not None and not MIN_SLACK <= config.level_slack <= MAX_SLACK:
        raise UsageError(
            f"--level-slack {config.level_slack} cannot be used: 1.0 never enlarges a decoded level, 1.5 lets it be enlarged by half; "
            f"{MIN_SLACK} to {MAX_SLACK:g}"
        )
    _ = config.loader_window
    _check_augment(config)
    return config


def _check_augment(config: Config) -> None:
    """UsageError for augmentation flags that cannot be, or that `--augment none` would silently ignore."""
    try:
        _ = config.loader_augment
    except UsageError as error:
        raise UsageError(f"--{str(error).replace('_', '-', 1)}") from None
    asked = [name for name in ("flip", "rotate", "gamma", "noise") if getattr(config, name)]
    if config.augment == "none" and asked:
        raise UsageError(f"--{asked[0]} does nothing with --augment none: leave one of them out")


def resolve(config: Config, *, device: str, world: int, samples: int, bf16: bool) -> tuple[Config, list[str]]:
    """Fill what depends on the machine and on the data; also the sentences that tell the user what was changed for him.

    Args:
        device: "cpu" or "cuda"; world: number of processes; samples: in the training split.
        bf16: whether the device multiplies bfloat16 matrices in hardware.

    Raises:
        UsageError: no samples, fewer than processes, or a batch that cannot be divided among the processes.
    """
    notes = []
    if samples == 0:
        raise UsageError("the training split is empty: pack more data, or pack with another --split")
    if samples < world:
        raise UsageError(f"{samples} training samples cannot feed {world} processes: start fewer (--nproc-per-node)")
    batch = config.batch_size
    if batch is None:
        batch = max((256 if device == "cuda" else 32) // world, 1) * world
    elif batch % world:
        raise UsageError(f"--batch-size {batch} cannot be divided among {world} processes: give a multiple of {world}")
    if batch > samples:
        batch = samples // world * world
        notes.append(f"only {samples} training samples: the batch is reduced to {batch}")
    sgd = config.optimizer == "sgd"
    # Where all images have one scale, a slack would show training another level than validation, image by image.
    random_scale = config.augment != "none" and config.spacing is None
    resolved = replace(
        config,
        batch_size=batch,
        epochs=config.epochs or (30 if device == "cuda" else 10),
        lr=config.lr if config.lr is not None else (0.125 if sgd else 2.5e-4),
        weight_decay=config.weight_decay if config.weight_decay is not None else (5e-5 if sgd else 0.05),
        amp=config.amp if config.amp != "auto" else ("bf16" if bf16 else "off"),
        fit=check_fit(config.fit, config.spacing)[0],
        level_slack=config.level_slack if config.level_slack is not None else (CROP_SLACK if random_scale else 1.0),
    )
    return resolved, notes


def check_resume(before: dict[str, Any], config: Config) -> list[str]:
    """Compare a resumed run's options with those of its checkpoint; returns a sentence where some changed that may.

    Raises:
        UsageError: an option changed that makes it another run.
    """
    changed = []
    for option in fields(Config):
        old, new = before.get(option.name, option.default), getattr(config, option.name)
        flag = "--" + option.name.replace("_", "-")
        if old == new:
            continue
        if option.metadata["identity"]:
            raise UsageError(
                f"the run to resume has {flag} {old}, not {new}: give {flag} {old}, or another --out for a new run"
            )
        if option.name not in ("resume", "out", "shards", "device", "threads", "cache", "cache_gb", "version"):
            changed.append(f"{flag} {new} (was {old})")
    return ["resumed with " + ", ".join(changed)] if changed else []
