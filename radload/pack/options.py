"""What a pack is asked to do, checked before any file is opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

from radload.codecs import CodecName
from radload.codecs.nvimgcodec import unavailable
from radload.dataset.addresses import check_local, is_address, spelled
from radload.errors import UsageError
from radload.pack import privacy
from radload.pack.codes import LOOKS_LIKE_MASK
from radload.pack.colour import ColourMode
from radload.pack.decisions import read_decisions
from radload.pack.eligible import KINDS
from radload.pack.keep import Kept, understand
from radload.pack.select import check_expression
from radload.pack.splits import Ratio, parse_ratio
from radload.pack.thin import Thinnings, parse_thinning
from radload.pack.transform import load_transform
from radload.pack.wide import WideMode
from radload.pack.worker import Limits
from radload.remote.store import as_url

T = TypeVar("T")

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
INCLUDABLE: Final = (*KINDS, LOOKS_LIKE_MASK)  # what --include takes: the codes that these files are rejected with else
UNCERTAIN = ("ignore", "zero", "one")
_LEAST_MEMORY = 0.5  # GiB; a worker that has read nothing holds 0.15
_SCHEDULER = re.compile(r"(tcp|tls)://[^/\s]+:\d+")
STAGED: Final = ".shards"  # after the private folder's name: shards before they are uploaded


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Options of `radload pack`; `None` is the default that depends on something else.

    Attributes:
        source, out, private: folders; private None: `<out>.private`.
        split: percent of patients in train/val/test; splits: CSV that gives them.
        patients: "tag:PatientID", "path:REGEX", "csv:FILE"; None: PatientID for DICOM, BIDS `sub-` elsewhere.
        labels: CSV; labels_from: "modality" or "folder:LEVEL"; uncertain: what -1 means in a multi-label CSV.
        axis: along which a NIfTI volume is cut: "last", or 0, 1, 2.
        order: "series" (slices of a series together); "slices" is refused, see `check`.
        shard_size: MiB of stored pixels per shard; None: 128, less for small data sets (`plan.shard_target`).
        workers: processes; None: all cores; 0: this process, without protection against a decoder that crashes.
        where, holdout: conditions on the catalog's columns (docs/catalog.md): what is packed; whose patients are the test split.
        slices: "all", "every:N", "central:K" or "max:K", of each series; frames: also "first", of each clip (`thin.is_clip`).
        drop_empty: leave out slices without content (`empty.is_empty`).
        masks: globs of paths relative to the source: files that are masks of images, and no images (docs/masks.md).
        include: kinds of files to pack that are left out by default (`INCLUDABLE`).
        wide: "raw" or "scale", for values that do not fit 16 bits exactly (`wide`).
        timeout: seconds that a worker may spend on one frame; memory: GiB that it may take. Neither is part of the plan.
        keep: DICOM keywords of further attributes that may leave; retain: "age", "sex", "size", "weight" (`keep`).
        key: file with the pseudonym key in hex, None: the private folder's own.
        transform: "module:function", called with each slice before it is encoded (`transform`).
        link_duplicates: divide patients who share an image as one (`duplicates`).
        attest_no_phi: the user vouches that PNG and JPEG files, which have no header to tell, hold no burned-in text.
        crop_us_regions: ultrasound is cropped to its scan regions and packed; decisions: TOML of `radload review`, filled in.
        scheduler: "tcp://HOST:PORT" or "tls://HOST:PORT" of a Dask scheduler whose workers write the shards (`cluster`), None: this
            machine; tls_ca_file, tls_cert, tls_key: PEM files of `tls://`. None of the four is part of the plan.
        decode_device: "cpu", or "cuda", which decodes lossless compressed DICOM frames in batches (`device`). Not part of the plan.
    """

    source: Path
    out: Path
    private: Path | None = None
    codec: str = "htj2k"
    split: str = "75/10/15"
    split_seed: int = 0
    splits: Path | None = None
    patients: str | None = None
    labels: Path | None = None
    labels_from: str | None = None
    uncertain: str = "ignore"
    color: str = "auto"
    axis: str = "last"
    order: str = "series"
    shard_size: float | None = None
    workers: int | None = None
    where: str | None = None
    holdout: str | None = None
    slices: str = "all"
    frames: str = "all"
    drop_empty: bool = False
    masks: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    timeout: float = 120.0
    memory: float = 2.0
    wide: str = "raw"
    keep: tuple[str, ...] = ()
    retain: tuple[str, ...] = ()
    key: Path | None = None
    transform: str | None = None
    link_duplicates: bool = False
    attest_no_phi: bool = False
    crop_us_regions: bool = False
    decisions: Path | None = None
    scheduler: str | None = None
    tls_ca_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    decode_device: str = "cpu"

    def identity(self) -> dict[str, Any]:
        """What decides the content of the shards, for the plan id: options, and files they name by their content."""
        return {
            "--codec": self.codec,
            "--split": list(parse_ratio(self.split)),
            "--split-seed": self.split_seed,
            "--splits": _content(self.splits, "--splits"),
            "--patients": self._patients_identity(),
            "--labels": _content(self.labels, "--labels"),
            "--labels-from": self.labels_from,
            "--uncertain": self.uncertain,
            "--color": self.color,
            "--axis": self.axis,
            "--order": self.order,
            "--shard-size": self.shard_size,
            "--where": self.where,
            "--holdout": self.holdout,
            "--slices": self.slices,
            "--frames": self.frames,
            "--drop-empty": self.drop_empty,
            "--masks": sorted(self.masks),
            "--include": sorted(set(self.include)),
            "--wide": self.wide,
            "--keep": sorted(set(self.keep)),
            "--retain": sorted(set(self.retain)),
            "--transform": self.transform,
            "--link-duplicates": self.link_duplicates,
            "--attest-no-phi": self.attest_no_phi,
            "--crop-us-regions": self.crop_us_regions,
            "--decisions": _content(self.decisions, "--decisions"),
        }

    def _patients_identity(self) -> str | None:
        if self.patients is not None and self.patients.startswith("csv:"):
            return f"csv:{_content(Path(self.patients[4:]), '--patients csv:')}"
        return self.patients


@dataclass(frozen=True, slots=True)
class Checked:
    """Options whose texts have been understood."""

    ratio: Ratio
    codec: CodecName
    color: ColourMode
    axis: int  # 0, 1 or 2: along which a NIfTI volume is cut
    limits: Limits
    include: frozenset[str]
    wide: WideMode
    thinnings: Thinnings
    kept: tuple[Kept, ...] = ()
    key: bytes | None = None


def check(options: PackOptions) -> Checked:
    """Understand the options.

    Raises:
        UsageError: one sentence about the first that cannot be used.
    """
    codec = _one_of(options.codec, get_args(CodecName), "--codec")
    wide = _one_of(options.wide, get_args(WideMode), "--wide")
    color = _one_of(options.color, get_args(ColourMode), "--color")
    check_uncertain(options.uncertain)
    axis = check_axis(options.axis)
    if _one_of(options.order, ("series", "slices"), "--order") == "slices":
        raise UsageError(
            "--order slices cannot be written in shard format version 1, whose index keeps the slices of a series in "
            "consecutive rows: leave it out, radload.Loader shuffles single slices over the whole data set anyway"
        )
    if options.labels is not None and options.labels_from is not None:
        raise UsageError(
            "--labels and --labels-from exclude each other: pack with one, add the other by `radload label`"
        )
    if options.labels_from is not None:
        check_labels_from(options.labels_from)
    if options.shard_size is not None and not 0 < options.shard_size <= 1 << 20:
        raise UsageError(f"--shard-size {options.shard_size:g} is no size in MiB: give a number above 0, such as 128")
    check_workers(options.workers)
    thinnings = Thinnings(
        parse_thinning(options.slices, "--slices", False), parse_thinning(options.frames, "--frames", True)
    )
    limits = check_limits(options.timeout, options.memory)
    _check_scheduler(options)
    check_decode_device(options.decode_device, options.scheduler)
    if options.decisions is not None:
        read_decisions(options.decisions)
    ratio, include = parse_ratio(options.split), check_include(options.include)
    for option, expression in (("--where", options.where), ("--holdout", options.holdout)):
        if expression is not None:
            check_expression(expression, option)
    if options.transform is not None:
        load_transform(options.transform)
    kept = understand(options.keep, options.retain)
    return Checked(ratio, codec, color, axis, limits, include, wide, thinnings, kept, _key(options))


def check_workers(workers: int | None) -> None:
    """Raises UsageError for what is no number of processes."""
    if workers is not None and workers < 0:
        raise UsageError(
            f"--workers {workers} is no number of processes: give 1 or more, or leave it out for all cores"
        )


def check_decode_device(device: str, scheduler: str | None = None) -> None:
    """Raises UsageError for a device that cannot decode here."""
    if _one_of(device, ("cpu", "cuda"), "--decode-device") == "cpu":
        return
    if scheduler is not None:
        raise UsageError(
            "--decode-device cuda does not go with --scheduler, whose workers may have no GPU: leave one out"
        )
    reason = unavailable()
    if reason is not None:
        raise UsageError(f"--decode-device cuda cannot be used: {reason}, or leave it out")


def check_axis(text: str) -> int:
    """The axis along which NIfTI volumes are cut. Raises UsageError."""
    return int(_one_of(text, ("last", "0", "1", "2"), "--axis").replace("last", "2"))


def check_timeout(timeout: float) -> float:
    """A --timeout in seconds. Raises UsageError."""
    if not 0 < timeout < float("inf"):
        raise UsageError(f"--timeout {timeout:g} is no time in seconds: give a number above 0, such as 120")
    return timeout


def check_limits(timeout: float, memory: float) -> Limits:
    """Limits of a worker from --timeout (seconds) and --memory (GiB). Raises UsageError."""
    check_timeout(timeout)
    if not _LEAST_MEMORY <= memory <= 1 << 20:
        raise UsageError(
            f"--memory {memory:g} is no size in GiB for a worker: give {_LEAST_MEMORY:g} or more, such as 2"
        )
    return Limits(timeout, int(memory * GIBIBYTE))


def check_include(kinds: Sequence[str]) -> frozenset[str]:
    """Raises UsageError for a kind that --include does not know."""
    for kind in kinds:
        _one_of(kind, INCLUDABLE, "--include")
    return frozenset(kinds)


def _check_scheduler(options: PackOptions) -> None:
    files = {"--tls-ca-file": options.tls_ca_file, "--tls-cert": options.tls_cert, "--tls-key": options.tls_key}
    if options.scheduler is not None and not _SCHEDULER.fullmatch(options.scheduler):
        raise UsageError(
            f"--scheduler {options.scheduler} is no address: give tcp://HOST:PORT or tls://HOST:PORT, as the Dask scheduler prints it"
        )
    if options.scheduler is None or not options.scheduler.startswith("tls:"):
        if given := [option for option, path in files.items() if path is not None]:
            raise UsageError(f"{given[0]} is for --scheduler tls://HOST:PORT: give that address, or leave it out")
        return
    for option, path in files.items():
        if path is None:
            raise UsageError(
                f"--scheduler {options.scheduler} needs {option}: give the PEM file that the scheduler was started with"
            )
        if not path.is_file():
            raise UsageError(f"{option} {path} is not there: give a PEM file")


def in_a_folder(options: PackOptions, what: str) -> None:
    """UsageError where `out` is an address, for what works on folders only."""
    if is_address(options.out):
        raise UsageError(
            f"{what} works on a local folder, and --out {spelled(options.out)} is an address: copy the data set to a folder and back"
        )


def on_this_machine(options: PackOptions) -> tuple[PackOptions, str | None]:
    """The options with `out` on this machine, and the address that is uploaded to; None where `out` is a folder.

    Shards that go to a bucket are first written beside the private folder, which must not lie in the bucket.

    Raises:
        UsageError: no private folder on this machine, or an address that cannot be used.
    """
    if not is_address(options.out):
        return options, None
    url = as_url(options.out)
    if url is None:
        raise UsageError(f"--out {spelled(options.out)} names no bucket: give s3://BUCKET/NAME or gs://BUCKET/NAME")
    if options.private is None:
        raise UsageError(
            f"--out {spelled(options.out)} is not on this machine, and nobody's names may lie beside it: give a local folder by --private"
        )
    check_local("--private", options.private, "give a local folder that only you can read")
    private = options.private.resolve()
    return replace(options, out=private.with_name(f"{private.name}{STAGED}")), url


def _key(options: PackOptions) -> bytes | None:
    """The pseudonym key of --key."""
    path = options.key
    if path is None:
        return None
    if options.out.resolve() in path.resolve().parents:
        raise UsageError(
            f"--key {path} lies inside --out, which may be shared: move it to a folder that only you can read"
        )
    try:
        return privacy.parse_key(path.read_text("ascii"))
    except OSError as error:
        raise UsageError(f"--key {path} cannot be read ({error.strerror}): give a file that is there") from None
    except ValueError:
        raise UsageError(
            f"--key {path} holds no key: write {2 * privacy.LEAST_KEY_BYTES} or more hexadecimal digits into it, such as "
            "`openssl rand -hex 32` prints"
        ) from None


def check_labels_from(text: str) -> None:
    """Raises UsageError for what --labels-from does not know."""
    if not re.fullmatch(r"modality|folder:[1-9]\d?", text):
        raise UsageError(
            f"--labels-from {text} is unknown: give modality, or folder:1 for the first folder below --src"
        )


def check_uncertain(text: str) -> None:
    """Raises UsageError for what --uncertain does not know."""
    _one_of(text, UNCERTAIN, "--uncertain")


def _one_of(value: str, allowed: Sequence[T], name: str) -> T:
    for candidate in allowed:
        if candidate == value:
            return candidate
    raise UsageError(f"{name} {value} is unknown: choose one of {', '.join(map(str, allowed))}")


def _content(path: Path | None, option: str) -> str | None:
    """SHA-256 of a file that an option names."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read ({error.strerror}): give a file that is there") from None
