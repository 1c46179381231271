"""What a run is: one frozen dataclass, filled by `options.parse` and saved in the run's folder.

Options whose default is None depend on the device or on the optimizer; `resolve` fills them once these are known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from radload.errors import UsageError
from radload.loading.planning.augment import AREA, AUTO, JITTER, Augment
from radload.loading.planning.fit import FITS, check_fit
from radload.loading.planning.recipe import read_window
from radload.train.stages import sizes_of

CROP_SLACK = 1.5  # decision 140: networks that have to see fine detail learn no less, and a crop costs half
NO_LABELS = "none"  # --labels none: train as if there were no label set
SUPERVISED, SELF_SUPERVISED = "supervised", ("lejepa", "simclr")


def _option(default: Any, text: str, *, identity: bool = False, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"text": text, "identity": identity, "choices": choices})


@dataclass(frozen=True)
class Config:
    """Options of a training run. Those marked `identity` must not change when a run is resumed."""

    shards: str = _option("shards", "data set that `radload pack --out` wrote")
    out: str = _option("runs/default", "folder of the run: log, checkpoints, exported backbone")
    labels: str | None = _option(None, "label set; by default the data set's own; `none`: train as without labels")
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
    optimizer: str | None = _option(
        None, "optimizer (default: sgd; adamw without labels)", identity=True, choices=("sgd", "adamw")
    )
    lr: float | None = _option(
        None,
        "learning rate per 256 images of the batch; the rate used is lr x batch / 256 (default: sgd 0.125, adamw 2.5e-4)",
    )
    weight_decay: float | None = _option(None, "never on norms and biases (default: sgd 5e-5, adamw 0.05)")
    warmup: float = _option(0.05, "share of all steps in which the learning rate rises")
    label_smoothing: float = _option(0.1, "label smoothing, for one label per image")
    amp: str = _option(
        "auto",
        "bfloat16 autocast; auto: where the hardware multiplies bfloat16 matrices; float64: all in double precision, to compare runs",
        choices=("auto", "bf16", "off", "float64"),
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
    objective: str = _option(
        "auto",
        "what is learned: from labels, or without them; auto: supervised where there are labels, else lejepa",
        identity=True,
        choices=("auto", SUPERVISED, *SELF_SUPERVISED),
    )
    views: int = _option(2, "self-supervised: differently augmented images of each slice", identity=True)
    local_views: int = _option(0, "self-supervised: smaller images of small parts besides", identity=True)
    local_size: int = _option(96, "side of the local views, pixels", identity=True)
    sizes: str | None = _option(
        None,
        "progressive resizing: SIZE:SHARE,…,SIZE, as 128:0.4,176:0.7,224: 128 pixels for the first 0.4 of the steps (overrules --size)",
        identity=True,
    )
    data: str = _option(
        "real",
        "replay: one batch again and again; synthetic: random numbers; both tell what the network alone can do",
        identity=True,
        choices=("real", "replay", "synthetic"),
    )
    compile: bool = _option(False, "torch.compile the network")
    accumulate: int = _option(1, "passes that each process makes for one step, on equal parts of its images")
    clip_grad: float | None = _option(None, "largest norm of the gradient (default: any)")
    ema: float = _option(
        0.0, "decay of a moving average of the weights, which is then validated and exported; 0: none", identity=True
    )
    mixup: float = _option(0.0, "mixup with shares from Beta(A, A), for labels; 0: none")
    class_weights: str = _option(
        "none", "balanced: each class has the same part in the loss", choices=("none", "balanced")
    )
    checkpoint_minutes: float = _option(60.0, "a checkpoint at least every so many minutes")
    max_nonfinite: int = _option(
        10, "steps in a row with a gradient that is not finite before the run ends; they are skipped"
    )
    watchdog_minutes: float = _option(5.0, "say which process waits for what after so many minutes without a step")
    ceiling_steps: int | None = _option(
        None,
        "steps on synthetic images that show the network's own rate before training (default: 20 on a GPU, 0 on the CPU)",
    )
    tensorboard: bool = _option(True, "curves for TensorBoard, where it is installed")
    wandb: str | None = _option(None, "project of Weights & Biases for curves (default: none are sent)")
    area: float = _option(
        AREA[0], "least share of the image's area that a random crop shows; 1: whole images", identity=True
    )
    decode: str = _option("auto", "on a GPU: where slices are decoded; auto measures", choices=("auto", "cpu", "gpu"))
    device_cache_gb: float | None = _option(
        None, "GB of each GPU's memory for decoded images of the training split (default: none)"
    )

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON-able values."""
        return asdict(self)

    @property
    def peak_lr(self) -> float:
        """The learning rate after warm-up, by the linear scaling rule (Goyal et al. 2017): lr x batch size / 256."""
        return (self.lr or 0.0) * (self.batch_size or 0) / 256

    @property
    def supervised(self) -> bool:
        """Whether labels, or their stand-in, are learned."""
        return self.objective == SUPERVISED

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
            area=(self.area, 1.0),
            flip=AUTO if self.flip is None else self.flip,
            rotate=self.rotate,
            window_jitter=self.window_jitter,
            gamma=self.gamma,
            noise=self.noise,
        )


def resolve(
    config: Config, *, device: str, world: int, samples: int, bf16: bool, labelled: bool = True
) -> tuple[Config, list[str]]:
    """Fill what depends on the machine and on the data; also the sentences that tell the user what was changed for him.

    Args:
        device: "cpu" or "cuda"; world: number of processes; samples: in the training split.
        bf16: whether the device multiplies bfloat16 matrices in hardware; labelled: whether there are labels to learn from.

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
    if config.decode == "gpu" and device != "cuda":
        raise UsageError("--decode gpu needs a GPU, and this run has none: leave it out")
    if config.device_cache_gb is not None and device != "cuda":
        raise UsageError(
            f"--device-cache-gb {config.device_cache_gb:g} is for a GPU, and this run has none: leave it out"
        )
    if batch // world % config.accumulate:
        raise UsageError(
            f"--accumulate {config.accumulate} does not divide the {batch // world} images of a process: give a divisor"
        )
    objective = config.objective if config.objective != "auto" else SUPERVISED if labelled else SELF_SUPERVISED[0]
    optimizer = config.optimizer or ("sgd" if objective == SUPERVISED else "adamw")
    sgd = optimizer == "sgd"
    if objective != SUPERVISED and (config.augment == "none" or config.mixup or config.class_weights != "none"):
        wrong = "--augment none" if config.augment == "none" else "--mixup" if config.mixup else "--class-weights"
        raise UsageError(
            f"{wrong} cannot be used with --objective {objective}, which compares augmented views: leave it out"
        )
    # Where all images have one scale, a slack would show training another level than validation, image by image.
    random_scale = config.augment != "none" and config.area < 1 and config.spacing is None
    resolved = replace(
        config,
        objective=objective,
        optimizer=optimizer,
        size=sizes_of(config.sizes, config.size)[-1][0],
        ceiling_steps=config.ceiling_steps if config.ceiling_steps is not None else (20 if device == "cuda" else 0),
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
        if option.name not in ("resume", "out", "shards", "device", "threads", "cache", "cache_gb", "tensorboard", "wandb", "version",
                               "ceiling_steps", "watchdog_minutes", "checkpoint_minutes"):  # fmt: skip
            changed.append(f"{flag} {new} (was {old})")
    return ["resumed with " + ", ".join(changed)] if changed else []
