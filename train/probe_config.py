"""What a probe is: one frozen dataclass, filled from the command line and saved with the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from radload.errors import UsageError
from radload.loading.planning.recipe import read_window
from radload.train.arguments import Parser
from radload.train.backbones import RANDOM
from radload.train.divide import PACKED, PATIENTS
from radload.train.finetune import FULL, TOP

LINEAR, AUTO = "linear", "auto"
METHODS = (LINEAR, TOP, FULL)


@dataclass(frozen=True)
class ProbeConfig:
    """Options of a probe; the command line's help says what they are."""

    backbone: str
    shards: str = "shards"
    out: str = "runs/probe"
    baselines: tuple[str, ...] = (RANDOM,)
    methods: tuple[str, ...] = (LINEAR,)
    labels: str | None = None
    division: str = AUTO
    seeds: int = 3
    arch: str | None = None
    size: int | None = None
    channels: int | None = None
    window: str | None = None
    batch_size: int = 64
    epochs: int = 30
    lr_top: float = 1e-3
    lr_full: float = 1e-4
    top_layers: int = 10
    augment: str = "default"
    pictures: int = 16
    device: str = "auto"
    amp: str = "auto"
    threads: int | None = None
    cache: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The options as JSON-able values."""
        return asdict(self)

    @property
    def loader_window(self) -> str | tuple[float, float] | None:
        """`window` as the Loader takes it."""
        return read_window(self.window)


def parse_probe(argv: Sequence[str] | None = None) -> ProbeConfig:
    """Options from the command line (`sys.argv` for None). Ends the program with code 2 where argparse cannot read them.

    Raises:
        UsageError: a value that no probe can have.
    """
    default = ProbeConfig("")
    parser = Parser("probe.py", "Compares pretrained networks on labelled shards.")

    def add(flag: str, text: str, **more: Any) -> None:
        value = getattr(default, flag[2:].replace("-", "_"))
        if value is not None:
            text += f" (default: {' '.join(value) if isinstance(value, tuple) else value})"
        parser.add_argument(flag, default=value, help=text, **more)

    parser.add_argument(
        "--backbone", required=True, help="a run's folder, or a file of weights under timm's keys (then with --arch)"
    )
    add("--shards", "labelled data set that `radload pack --out` wrote")
    add("--out", "folder for probe.json, probe.md and the pictures")
    add("--baselines", "networks to compare with: `random`, files of weights (ImageNet's), other runs", nargs="*")
    add("--methods", "linear: the network as it is; top: its last layers learn too; full: all do", nargs="+", choices=METHODS)  # fmt: skip
    add("--labels", "label set; by default the data set's own")
    add(
        "--division",
        "who is tested: patients anew for each seed, or the packed splits; auto: packed for the shards of the pretraining, whose "
        "training patients the network knows",
        choices=(AUTO, PATIENTS, PACKED),
    )
    add("--seeds", "divisions by patient, and random weights", type=int)
    add("--arch", "network of a --backbone that is a file of weights, by its timm name")
    add("--size", "side of the square images, pixels (default: that of the run, or 224)", type=int)
    add("--channels", "channels per image, 3 or 1 (default: those of the run, or 3)", type=int)
    add("--window", "windows, as for pretrain.py (default: those of the run)")
    add("--batch-size", "images per step", type=int)
    add("--epochs", "of fine-tuning", type=int)
    add("--lr-top", "learning rate of `top`", type=float)
    add("--lr-full", "learning rate of `full`", type=float)
    add("--top-layers", "layers with parameters that `top` lets learn", type=int)
    add("--augment", "of fine-tuning", choices=("default", "none"))
    add("--pictures", "class-activation maps to write per network and method", type=int)
    add("--device", "auto takes a GPU where there is one", choices=("auto", "cpu", "cuda"))
    add("--amp", "bfloat16 autocast; auto: where the hardware multiplies it", choices=("auto", "bf16", "off"))
    add("--threads", "threads of the loader", type=int)
    add("--cache", "folder for decoded images, shared by all passes")
    values = vars(parser.parse_args(argv))
    values["baselines"], values["methods"] = tuple(values["baselines"]), tuple(dict.fromkeys(values["methods"]))
    return check_probe(ProbeConfig(**values))


def check_probe(config: ProbeConfig) -> ProbeConfig:
    """Refuse values that no probe can have. Raises UsageError."""
    for name in ("seeds", "batch_size", "epochs", "top_layers", "size", "threads"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a whole number of at least 1")
    for name in ("lr_top", "lr_full"):
        if not 0 < getattr(config, name) < float("inf"):
            raise UsageError(
                f"--{name.replace('_', '-')} {getattr(config, name)} cannot be used: give a number above 0"
            )
    if config.pictures < 0:
        raise UsageError(f"--pictures {config.pictures} cannot be used: give 0 or more")
    if config.channels not in (None, 1, 3):
        raise UsageError(f"--channels {config.channels} cannot be used: give 1 or 3")
    _ = config.loader_window
    return config
