"""manifest.json: what a data set is, which version of the format it has, and how its splits were made."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radload.dataset.files import write_json
from radload.dataset.schema import FORMAT_VERSION
from radload.errors import FormatError, UsageError

MANIFEST = "manifest.json"
_BUCKET = re.compile(r"(?:^|/)(s3|gs):/+(.+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest's content. It names no source, no person and no date.

    Attributes:
        version: of the shard format (docs/format.md).
        generation: version of the data set; `generations` lists the index segments that make it up.
        fingerprint: SHA-256 (hex) over the pixel hashes of all samples in order of their keys.
        samples, series, patients: totals; splits: per split {"samples", "series", "patients"}.
        split_rule: how patients were divided (ratio, seed, method, quotas).
        patient_rule: where patients come from ("tag:PatientID", "path:...", "csv"), `unknown_patients` how many had no identity.
        codec: "htj2k" or "raw"; key_id: which pseudonym key (first 16 hex digits of its SHA-256).
        tools: versions of radload and of what encoded the pixels.
        burned_in: how burned-in text was kept out {"attested", "us_regions_cropped", "decisions" (SHA-256 of each pack's file)}.
        source: counts of input files {"packed", "rejected", "ignored"}.
        masks: samples that have a mask.
        kept: DICOM keywords that were added by --keep; retained: patient characteristics that were added by --retain.
        transform: "module:function" that had the slices before they were encoded, None where there was none.
        encoding: what else decided the stored values {"color", "axis" (0, 1 or 2), "wide"}, and "whole_series": False where slices
            of a series may have been left out (--where, --slices, --frames, --drop-empty).
        withdrawn: generations that hold, or held, images of patients who withdrew (`radload forget`); none of them is opened.
    """

    generation: int
    generations: list[int]
    fingerprint: str
    samples: int
    series: int
    patients: int
    unknown_patients: int
    splits: dict[str, dict[str, int]]
    split_rule: dict[str, Any]
    patient_rule: str
    codec: str
    key_id: str
    tools: dict[str, str]
    source: dict[str, int]
    notes: list[str] = field(default_factory=list)
    burned_in: dict[str, Any] = field(default_factory=dict)
    format: str = "radload"
    version: int = FORMAT_VERSION
    masks: int = 0
    kept: list[str] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)
    transform: str | None = None
    encoding: dict[str, Any] = field(default_factory=dict)
    withdrawn: list[int] = field(default_factory=list)


def generation_folder(root: Path, generation: int) -> Path:
    """Where a generation of the data set in `root` has its index segment and, once another has come after it, its manifest."""
    return root / "index" / f"{generation:06d}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `folder`/manifest.json atomically: the last act of a pack, after which the data set exists."""
    write_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path, version: int | str | None = None) -> Manifest:
    """Read and check the manifest of the data set in `folder`.

    Args:
        version: number of a generation ("000003", "3" or 3), None: the current one.

    Raises:
        UsageError: no such folder, no data set in it, or no such version that may be opened.
        FormatError: another format version, or a damaged manifest.
    """
    manifest = _read(folder, folder / MANIFEST)
    if version is None:
        return manifest
    number = _generation(version)
    if number in manifest.withdrawn:
        raise UsageError(
            f"version {number} of {folder} holds images of patients who withdrew their consent, so nobody may open it: take version "
            f"{manifest.generation}, or leave version out"
        )
    if number == manifest.generation:
        return manifest
    path = generation_folder(folder, number) / MANIFEST
    if not path.is_file():
        known = ", ".join(map(str, generations(folder, manifest)))
        raise UsageError(f"{folder} has no version {version} (there: {known}): give one of these, or leave it out")
    return _read(folder, path)


def read_generation(folder: Path, generation: int) -> Manifest:
    """The manifest of a generation, also of one that may not be opened. Raises as `read_manifest`."""
    path = generation_folder(folder, generation) / MANIFEST
    return _read(folder, path if path.is_file() else folder / MANIFEST)


def generations(folder: Path, manifest: Manifest) -> list[int]:
    """Generations of the data set in `folder` that may be opened, oldest first; `manifest` is the current one."""
    before = (path.parent.name for path in (folder / "index").glob(f"[0-9]*/{MANIFEST}"))
    older = {int(name) for name in before if name.isdecimal() and int(name) < manifest.generation}
    return [*sorted(older - set(manifest.withdrawn)), manifest.generation]


def _generation(version: int | str) -> int:
    """The number that a version is called by."""
    if isinstance(version, int) and not isinstance(version, bool) and version >= 0:
        return version
    if isinstance(version, str) and version.isascii() and version.isdecimal() and len(version) <= 18:
        return int(version)
    raise UsageError(f"version={version!r} is no version: give its number, such as 0 (`radload versions` lists them)")


def no_folder(folder: Path) -> UsageError:
    """What is said where a folder of shards is not there; an address of a bucket may have become a path."""
    if found := _BUCKET.search(str(folder)):
        scheme, name = found.groups()
        return UsageError(
            f"{scheme}://{name} lies in a bucket, and this command works in a folder: copy it to a disk of this machine, and give "
            "that folder (radload.Loader, radload.open, `radload inspect`, `audit` and `cohort` read it where it is)"
        )
    return UsageError(f"there is no folder {folder}: give the folder that `radload pack --out` wrote")


def _read(folder: Path, path: Path) -> Manifest:
    if folder.is_file():
        raise UsageError(f"{folder} is a file: give the folder that `radload pack --out` wrote")
    if not folder.is_dir():
        raise no_folder(folder)
    if not path.is_file():
        raise UsageError(
            f"{folder} holds no {MANIFEST}: it is not a finished data set; make one with `radload pack --src DIR --out {folder}`"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{path} is damaged ({error}): restore it from a copy, or pack again") from None
    version = content.get("version") if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.get("format") != "radload":
        raise FormatError(f"{path} is not a radload manifest: give the folder that `radload pack --out` wrote")
    if version != FORMAT_VERSION:
        raise FormatError(
            f"{folder} has shard format version {version}, this radload reads version {FORMAT_VERSION}: "
            "install the radload that wrote it, or pack again"
        )
    try:
        return Manifest(**content)
    except TypeError as error:
        raise FormatError(f"{path} is damaged ({error}): restore it from a copy, or pack again") from None
