"""The model card: what a network was trained on, which pixels it takes, what it can do, and ten lines that load it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from radload.loading.preparation import Preparation
from radload.train.bootstrap import as_text
from radload.train.models import arguments

UNKNOWN_LICENCE = "unknown"
_UNJUDGED = "cannot be judged"
_SHOWN = 200  # classes of the table
_LOCAL = (
    "shards",
    "out",
    "cache",
    "resume",
    "device",
    "threads",
    "cache_gb",
    "device_cache_gb",
    "decode",
    "log_every",
    "keep",
    "checkpoint_every",
)


def example(arch: str, in_chans: int, size: int) -> str:
    """A program that turns an image file into features; runs in the folder of the export, `python example.py slice.dcm`."""
    fixed = {"num_classes": 0, "in_chans": in_chans}
    fixed |= {key: value for key, value in arguments(arch, in_chans, size).items() if key == "img_size"}
    given = ", ".join(f"{key}={value}" for key, value in fixed.items())
    return _EXAMPLE.substitute(arch=json.dumps(arch), given=given)


def write_card(
    about: Mapping[str, Any],
    run: Mapping[str, Any],
    verdict: Mapping[str, Any] | None,
    files: Sequence[tuple[str, str]],
    licence: str,
    name: str,
) -> str:
    """The card as Markdown with the header that model hubs read.

    Args:
        about: content of backbone.json; run: of run.json, {} where there is none; verdict: of val.json.
        files: (name, what it is); licence: an SPDX identifier, or "unknown"; name: of the model.
    """
    preparation = Preparation.from_dict(about["preparation"])
    options = {key: value for key, value in run.get("config", {}).items() if key not in _LOCAL and value is not None}
    objective = run.get("config", {}).get("objective", "supervised")
    classes = (about.get("classes") or []) if objective == "supervised" else []
    height, width = preparation.size
    scale = (
        "" if preparation.spacing is None else f", {preparation.spacing[0]:g} x {preparation.spacing[1]:g} mm per pixel"
    )
    facts = [
        ("network", f"timm `{about['arch']}`, without classifier"),
        ("images", f"{about['in_chans']} channels of {height} x {width} pixels, fit `{preparation.fit}`{scale}"),
        (
            "licence",
            licence if licence != UNKNOWN_LICENCE else "not stated by those who trained it: ask before you use it",
        ),
        ("data set (fingerprint of its pixels)", f"`{about.get('fingerprint', 'unknown')}`"),
        ("classes of the training", _listed(classes) if classes else f"none: {_without(objective)}"),
        ("steps", str(about.get("step", "unknown"))),
        ("software", ", ".join(f"{key} {value}" for key, value in run.get("versions", {}).items()) or "unknown"),
    ]
    return _CARD.substitute(
        licence="other" if licence == UNKNOWN_LICENCE else licence,
        name=name,
        facts=_table(("", ""), facts),
        files=_table(("file", "what it is"), [(f"`{file}`", text) for file, text in files]),
        example=example(about["arch"], about["in_chans"], height),
        recipe=preparation.recipe.describe(),
        preparation=json.dumps(preparation.as_dict(), indent=2, ensure_ascii=False),
        verdict=_verdict(verdict),
        options=_table(("option", "value"), [(f"`{key}`", f"`{value}`") for key, value in options.items()])
        or "not recorded\n",
    )


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None or "slice" not in verdict:
        return "None: it was trained without labels, or no validation sample has one.\n"
    rows = []
    for level, found in (
        ("slice", verdict["slice"]),
        ("study", verdict["study"]["mean"]),
        ("patient", verdict["patient"]["mean"]),
    ):
        for key in ("top1", "top5", "balanced_accuracy", "auroc"):
            if found.get(key) is not None:
                rows.append((f"{key.replace('_', ' ')} per {level}", as_text(found[key]) or _UNJUDGED))
    text = (
        f"On {verdict['samples']} images of {verdict['patients']} patients that training never saw; in brackets 95 % intervals over "
        "patients. Studies and patients by the mean of their images' probabilities. Of the classifier, which is not part of the files.\n\n"
    )
    text += _table(("figure", "value"), rows)
    by_class = list(verdict["slice"].get("auroc_by_class", {}).items())
    if by_class:
        text += "\n" + _table(
            ("class", "AUROC per slice"), [(key, as_text(value) or _UNJUDGED) for key, value in by_class[:_SHOWN]]
        )
    return text


def _without(objective: str) -> str:
    return "trained without labels" + ("" if objective == "supervised" else f" ({objective})")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_EXAMPLE = Template("""\
import sys

import timm
from safetensors.torch import load_file

import radload

model = timm.create_model($arch, $given).eval()
model.load_state_dict(load_file("backbone.safetensors"), strict=True)
image = radload.prepare(sys.argv[1], "backbone.json")  # a DICOM, NIfTI, PNG or JPEG file
print(model(image).shape)
""")

_CARD = Template("""\
---
license: $licence
library_name: timm
pipeline_tag: image-feature-extraction
tags:
- radiology
- radload
---

# $name

A network trained on radiological images with radload, to start other tasks from. Not a medical device.

$facts
## Files
$files
## Use
`python example.py slice.dcm` in this folder:

```python
$example```

## Images
A file becomes the network's input by these windows, and by nothing else:

```
$recipe
```

`radload.prepare(file, "backbone.json")` does all of it, bit for bit as in training's evaluation. In full:

<details><summary>preparation</summary>

```json
$preparation
```

</details>

## Figures
$verdict
## Training
$options""")
