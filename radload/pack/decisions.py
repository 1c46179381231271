"""decisions.toml: what a person decided about each group of quarantined files; `radload review` writes it, `pack` applies it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from radload.errors import UsageError
from radload.pack.groups import Group
from radload.pack.redact import Rectangle, Redaction, inside

DECISIONS: Final = "decisions.toml"  # in the private folder's REVIEW
PACK: Final = "pack"
LEAVE_OUT: Final = "leave-out"
ASK: Final = "ask"
CHOICES: Final = (PACK, LEAVE_OUT, ASK)
_FACTS: Final = (
    "modality",
    "manufacturer",
    "model",
    "size",
    "region",
    "sop_class",
    "files",
    "frames",
)  # for people only
_HEAD: Final = """\
# What to do with each group of files whose pixels may hold burned-in text; index.html beside this file shows them.
#
#   decision = "pack"        as they are, or after crop and mask
#   decision = "leave-out"   never
#   decision = "ask"         not decided yet: the files stay in quarantine
#   crop = [top, left, height, width]            what is kept, in pixels of the whole frame
#   mask = [[top, left, height, width], ...]     what is blanked, in pixels of the whole frame too, whatever the crop
#
# Then: radload pack --src DIR --out SHARDS --decisions THIS_FILE
version = 1
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """About one group. decision: one of CHOICES; the redaction is None where nothing is cut away or blanked."""

    decision: str = ASK
    redaction: Redaction | None = None


def read_decisions(path: Path) -> dict[str, Decision]:
    """Group name -> decision.

    Raises:
        UsageError: no such file, or one sentence about the first entry that cannot be used.
    """
    return {name: _decision(path, name, entry) for name, entry in read_entries(path).items()}


def read_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of the groups as they stand in the file. Raises UsageError like `read_decisions`."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"--decisions {path} cannot be read ({error.strerror}): give the decisions.toml of `radload review`"
        ) from None
    except ValueError as error:
        raise UsageError(
            f"--decisions {path} is no TOML ({error}): correct it, or run `radload review` again"
        ) from None
    groups = content.get("groups", {})
    unknown = sorted(set(content) - {"version", "groups"})
    if content.get("version") != 1 or unknown or not isinstance(groups, dict):
        raise UsageError(
            f"--decisions {path} is no decisions.toml of version 1{f' (it has {unknown[0]})' if unknown else ''}: "
            "begin with the file that `radload review` writes"
        )
    for name, entry in groups.items():
        if not isinstance(entry, dict):
            raise UsageError(f"--decisions {path}: groups.{name} is no table: write [groups.{name}] above its decision")
    return groups


def check_decisions(path: Path, decisions: Mapping[str, Decision], groups: Mapping[str, Group]) -> None:
    """Compare decisions with the groups that are in quarantine; a group that is not decided about may be unknown.

    Raises:
        UsageError: a decision about no group, or a rectangle that is not inside its group's frames.
    """
    for name, decision in decisions.items():
        if decision.decision == ASK:
            continue
        group = groups.get(name)
        if group is None:
            raise UsageError(
                f"--decisions {path}: no quarantined file under --src is of group {name}: remove it, or give the decisions of these files"
            )
        if decision.redaction is None:
            continue
        for key, rectangles in (("crop", [decision.redaction.crop]), ("mask", decision.redaction.masks)):
            for one in rectangles:
                if one is not None and not inside(one, group.rows, group.cols):
                    raise UsageError(
                        f"--decisions {path}: {key} {list(one)} of group {name} is not inside its frames of {group.rows} x {group.cols}: "
                        "give [top, left, height, width] in pixels"
                    )


def write_template(groups: Sequence[tuple[Group, int, int]], before: Mapping[str, Mapping[str, Any]]) -> str:
    """decisions.toml as text.

    Args:
        groups: (group, files, frames) in the order of the file.
        before: entries of an earlier file: what they decide stays, and entries of groups that are no longer there too.
    """
    parts = [_HEAD]
    for group, files, frames in groups:
        facts: dict[str, Any] = {
            "modality": group.modality,
            "manufacturer": group.manufacturer,
            "model": group.model,
            "size": [group.rows, group.cols],
            **({"region": list(group.region)} if group.region is not None else {}),
            "sop_class": group.sop_class,
            "files": files,
            "frames": frames,
        }
        decided = {key: value for key, value in before.get(group.name, {}).items() if key not in _FACTS}
        parts.append(_table(group.name, {**facts, "decision": ASK, **decided}))
    names = {group.name for group, _, _ in groups}
    parts += [_table(name, entry) for name, entry in before.items() if name not in names]
    return "\n".join(parts)


def _table(name: str, entry: Mapping[str, Any]) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in entry.items()]
    return "\n".join([f"[groups.{_toml(name)}]", *lines, ""])


def _toml(value: Any) -> str:
    """Texts, whole numbers and lists of them: JSON is TOML there, apart from DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _decision(path: Path, name: str, entry: Mapping[str, Any]) -> Decision:
    unknown = sorted(set(entry) - {*_FACTS, "decision", "crop", "mask"})
    if unknown:
        raise UsageError(f"--decisions {path}: group {name} has {unknown[0]}: only decision, crop and mask are known")
    choice = entry.get("decision", ASK)
    if choice not in CHOICES:
        raise UsageError(f"--decisions {path}: decision {choice!r} of group {name}: choose one of {', '.join(CHOICES)}")
    if choice != PACK:
        if "crop" in entry or "mask" in entry:
            raise UsageError(
                f'--decisions {path}: group {name} has a rectangle and decision "{choice}": say decision = "pack", or remove the rectangle'
            )
        return Decision(choice)
    crop = _rectangle(path, name, "crop", entry["crop"]) if "crop" in entry else None
    masks = entry.get("mask", [])
    if not isinstance(masks, list):
        raise _no_rectangle(path, name, "mask", masks)
    found = tuple(_rectangle(path, name, "mask", mask) for mask in masks)
    return Decision(PACK, Redaction(crop, found) if crop is not None or found else None)


def _rectangle(path: Path, name: str, key: str, value: Any) -> Rectangle:
    if not isinstance(value, list) or len(value) != 4 or not all(type(side) is int for side in value):
        raise _no_rectangle(path, name, key, value)
    top, left, height, width = value
    return top, left, height, width


def _no_rectangle(path: Path, name: str, key: str, value: Any) -> UsageError:
    form = "[top, left, height, width]" if key == "crop" else "[[top, left, height, width], ...]"
    return UsageError(
        f"--decisions {path}: {key} {value!r} of group {name} is no rectangle: give {key} = {form} in pixels"
    )
