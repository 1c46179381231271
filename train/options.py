"""Options from the command line and from a TOML file, and back into one: `--config runs/a/config.toml` repeats the run `runs/a`."""

from __future__ import annotations

import argparse
import difflib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from radload.dataset.files import atomic_file
from radload.errors import UsageError
from radload.loading.arguments import MAX_SIZE
from radload.loading.planning.augment import AREA, LEAST_AREA
from radload.loading.planning.fit import MAX_SPACING, MIN_SPACING
from radload.loading.planning.levels import MAX_SLACK, MIN_SLACK
from radload.train.arguments import Parser
from radload.train.config import Config
from radload.train.stages import sizes_of

_HINTS = get_type_hints(Config)


def parse(argv: Sequence[str] | None = None) -> Config:
    """Options from the command line (`sys.argv` for None), which overrule those of `--config`.

    Raises:
        UsageError: an option that there is not, a value that no run can have, or a file that cannot be used.
    """
    parser = Parser("pretrain.py", "Trains a network on packed radiology images.")
    parser.add_argument("--config", metavar="FILE.toml", help="options from a file, as a run leaves it in its folder")
    for option in fields(Config):
        flag, text, kind = _flag(option.name), option.metadata["text"], _kind(option)
        if option.default is not None:
            text += " (default: %(default)s)"
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=text)
        else:
            choices = option.metadata["choices"] or None
            parser.add_argument(flag, type=kind, default=option.default, choices=choices, help=text)
    file = parser.parse_known_args(argv)[0].config
    if file is not None:
        parser.set_defaults(**read_config(Path(file)))
    values = vars(parser.parse_args(argv))
    del values["config"]
    return check(Config(**values))


def read_config(path: Path) -> dict[str, Any]:
    """The options that a TOML file sets.

    Raises:
        UsageError: no such file, no TOML, or an option or value that there is not.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read ({error.strerror}): give a TOML file") from None
    except ValueError as error:  # also of the encoding
        raise UsageError(
            f"--config {path} is no TOML ({error}): give a file as a run leaves it in its folder"
        ) from None
    known = {option.name: option for option in fields(Config)}
    values = {}
    for given, value in found.items():
        name = given.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "`pretrain.py --help` lists them"
            raise UsageError(f"--config {path} sets {given}, which is no option: {hint}")
        kind, choices = _kind(known[name]), known[name].metadata["choices"]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (choices and value not in choices):
            wanted = f"one of {', '.join(choices)}" if choices else f"a {kind.__name__}"
            raise UsageError(f"--config {path} sets {given} to {value!r}: give {wanted}")
        values[name] = value
    return values


def write_config(path: Path, config: Config) -> None:
    """Write the options that are set as TOML, atomically. `resume` is left out: a file is to repeat a run, not to continue one."""
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"  # JSON's texts, numbers, true and false are TOML's
        for name, value in config.as_dict().items()
        if value is not None and name != "resume"
    ]
    with atomic_file(path) as file:
        file.write("".join(lines).encode())


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(option: Field[Any]) -> type:
    """The type of an option's values, None apart."""
    hint = _HINTS[option.name]
    kind: type = next((part for part in get_args(hint) if part is not type(None)), hint)
    return kind


def check(config: Config) -> Config:
    """Refuse values that no run can have. Raises UsageError."""
    for name in (
        "size", "batch_size", "epochs", "max_steps", "threads", "log_every", "checkpoint_every", "keep", "accumulate",
        "local_size", "max_nonfinite",
    ):  # fmt: skip
        value = getattr(config, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a whole number of at least 1")
    for name in ("lr", "weight_decay", "mixup", "local_views", "ceiling_steps"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a number that is not negative")
    if Path(config.out).is_file():
        raise UsageError(f"--out {config.out} is a file: give a folder")
    if config.spacing is not None and not MIN_SPACING <= config.spacing <= MAX_SPACING:
        raise UsageError(
            f"--spacing {config.spacing} cannot be used: give millimetres per pixel, {MIN_SPACING} to {MAX_SPACING}"
        )
    if config.cache_gb is not None and (config.cache is None or not 0.01 <= config.cache_gb < 1e9):
        raise UsageError(f"--cache-gb {config.cache_gb:g} cannot be used: give 0.01 or more, and a folder with --cache")
    if config.device_cache_gb is not None and not 0.01 <= config.device_cache_gb < 1e9:
        raise UsageError(f"--device-cache-gb {config.device_cache_gb:g} cannot be used: give 0.01 or more, for a GPU")
    if config.decode == "gpu" and config.cache is not None:
        raise UsageError(
            "--decode gpu does not go with --cache, which keeps what the CPU has decoded: leave one of them out"
        )
    if not 0 <= config.max_failures < float("inf"):
        raise UsageError(f"--max-failures {config.max_failures} cannot be used: give a fraction below 1, or a number")
    for name in ("clip_grad", "checkpoint_minutes", "watchdog_minutes"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value} cannot be used: give a number above 0")
    if config.views < 2:
        raise UsageError(f"--views {config.views} cannot be used: give at least 2, which are compared")
    for name in ("warmup", "label_smoothing", "ema"):
        if not 0 <= getattr(config, name) < 1:
            raise UsageError(
                f"--{name.replace('_', '-')} {getattr(config, name)} cannot be used: give a share from 0 up to 1"
            )
    if not LEAST_AREA <= config.area <= 1:
        raise UsageError(f"--area {config.area:g} cannot be used: give a share of the image, {LEAST_AREA} to 1")
    if config.channels not in (1, 3):
        raise UsageError(f"--channels {config.channels} cannot be used: give 1 or 3")
    if config.level_slack is not None and not MIN_SLACK <= config.level_slack <= MAX_SLACK:
        raise UsageError(
            f"--level-slack {config.level_slack} cannot be used: 1.0 never enlarges a decoded level, 1.5 lets it be enlarged by half; "
            f"{MIN_SLACK} to {MAX_SLACK:g}"
        )
    sizes = [pixels for pixels, _ in sizes_of(config.sizes, config.size)]
    for name, pixels in (("sizes" if config.sizes else "size", max(sizes)), ("local-size", config.local_size)):
        if pixels > MAX_SIZE:
            raise UsageError(f"--{name}: images of {pixels} pixels cannot be made: give at most {MAX_SIZE}")
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
    asked += ["area"] if config.area != AREA[0] else []
    if config.augment == "none" and asked:
        raise UsageError(f"--{asked[0]} does nothing with --augment none: leave one of them out")
