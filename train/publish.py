"""A finished run as a folder to give away: weights for one and three channels, model card, example, and ONNX if asked for.

    python train/publish.py runs/a --out published/a --licence CC-BY-4.0
    python train/publish.py runs/a --out published/a --licence CC-BY-4.0 --onnx     # needs pip install onnx onnxscript

The folder holds no pixels, no keys and no paths. It is a run's folder to `radload.prepare` and to train/probe.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from radload.dataset.files import atomic_file, write_json
from radload.errors import RadloadError, UsageError
from radload.train.arguments import Parser
from radload.train.backbones import open_about, read_weights
from radload.train.card import UNKNOWN_LICENCE, example, write_card
from radload.train.export import load_backbone
from radload.train.output import writing_to
from radload.train.stem import convert_stem

STEMS = (1, 3)  # channels that others' images have
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


def publish(run: Path, out: Path, licence: str = UNKNOWN_LICENCE, onnx: bool = False, name: str | None = None) -> Path:
    """Write the folder `out` from the export in `run`, and return the card's path.

    Args:
        licence: SPDX identifier; name: of the model, by default the network's.

    Raises:
        UsageError: no export there, a licence that is none, or ONNX without its packages. FormatError: an export that is damaged.
    """
    found = open_about(str(run))
    if found is None or not run.is_dir():
        raise UsageError(f"{run} is no folder: give that of a run that has ended")
    if not _LICENCE.fullmatch(licence):
        raise UsageError(f"--licence {licence!r} is no identifier: give one of spdx.org/licenses, such as CC-BY-4.0")
    if onnx:
        check_onnx()
    path, about = found
    arch, native, size = about["arch"], about["in_chans"], about["size"]
    weights = read_weights(path)
    with writing_to(out):
        out.mkdir(parents=True, exist_ok=True)
        files = _write_weights(out, weights, about, onnx)
        files += [("backbone.json", "network, windows, classes"), ("example.py", "from a file to features")]
        write_json(out / "backbone.json", about)
        _write(out / "example.py", example(arch, native, size))
        details = [
            json.loads(path.read_bytes()) if path.is_file() else None for path in (run / "run.json", run / "val.json")
        ]
        _write(out / "README.md", write_card(about, details[0] or {}, details[1], files, licence, name or arch))
    return out / "README.md"


def _write_weights(
    out: Path, weights: dict[str, torch.Tensor], about: dict[str, Any], onnx: bool
) -> list[tuple[str, str]]:
    """Write the network for its own number of channels and for those of STEMS; (file, what it is) of each."""
    arch, native, size = about["arch"], about["in_chans"], about["size"]
    files: list[tuple[str, str]] = []
    for channels in sorted({native, *STEMS}, key=lambda channels: channels != native):
        own = channels == native
        path = out / ("backbone.safetensors" if own else f"backbone_{channels}ch.safetensors")
        temporary = path.with_name(f".{path.name}.tmp")
        save_file(convert_stem(weights, arch, size, channels), temporary, metadata={"format": "pt"})
        model = load_backbone(temporary, arch, channels, size)
        temporary.chmod(0o644)  # safetensors makes files for their owner alone
        temporary.replace(path)
        same = (
            f"the same for {channels} channel{'s' * (channels > 1)}: equal to it where all channels are one grey image"
        )
        files.append((path.name, f"weights under timm's keys for {native} channels, as trained" if own else same))
        if onnx:
            write_onnx(model, path.with_suffix(".onnx"), (1, channels, size, size))
            files.append(
                (
                    f"{path.stem}.onnx",
                    f"{path.name} as a graph: `image` (n, {channels}, height, width) to `features` (n, width)",
                )
            )
    return files


def check_onnx() -> None:
    """UsageError where a package that torch needs to write ONNX is not installed."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise UsageError(f"--onnx needs {' and '.join(missing)}: pip install onnx onnxscript")


def write_onnx(model: torch.nn.Module, path: Path, shape: tuple[int, int, int, int]) -> None:
    """Write `model` as ONNX, for any number of images of `shape` (N, C, H, W). The model is in evaluation mode, on the CPU."""
    images = torch.zeros(2, *shape[1:])  # an example of one image would fix the number
    temporary = path.with_name(f".{path.name}.tmp")
    torch.onnx.export(
        model,
        (images,),
        temporary,
        input_names=["image"],
        output_names=["features"],
        dynamic_shapes=({0: torch.export.Dim("images")},),
        dynamo=True,
        external_data=False,  # one file; the networks of timm are far below protobuf's 2 GB
        verbose=False,
    )
    temporary.replace(path)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0 written, 2 what the user can put right."""
    parser = Parser("publish.py", "Turns a finished run into a folder to give away.")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--licence", default=UNKNOWN_LICENCE, help="SPDX identifier (default: %(default)s)")
    parser.add_argument("--name", help="of the model (default: the network's)")
    parser.add_argument("--onnx", action="store_true", help="write backbone.onnx too")
    try:
        options = parser.parse_args(argv)
        card = publish(options.run, options.out, options.licence, options.onnx, options.name)
    except RadloadError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{card}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
