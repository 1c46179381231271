"""The demo from end to end: make files, pack them, look at the shards, train on them, and put it all on a page."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pydicom
import pydicom.data
from rich.console import Console
from rich.text import Text

import radload
from radload.demo.curves import write_curves
from radload.demo.ledger import Ledger
from radload.demo.phantoms import Made, make
from radload.demo.report import Report, write_report
from radload.errors import RadloadError
from radload.inspect import Summary, print_tables, summarise, write_contact_sheet
from radload.loading.planning.recipe import Recipe
from radload.pack import PackOptions, pack
from radload.pack.summary import PackSummary, print_summary
from radload.train.log import read_log

ARCH = "resnet10t"
TRAINING = ("--arch", ARCH, "--size", "96", "--batch-size", "16", "--area", "1", "--flip", "--rotate", "10",
            "--class-weights", "balanced", "--optimizer", "adamw", "--lr", "1.6e-2", "--weight-decay", "0.1",
            "--warmup", "0.1", "--ema", "0.98", "--device", "cpu")  # fmt: skip
EPOCHS = 5
SPLIT = "80/20/0"  # more patients to validate on than by default: 10 % of so few would prove little
BOUND = 0.85  # accuracy on unseen patients below which the demo fails: telling the modality alone gives about 0.63


class DemoFailed(RadloadError):
    """A part of the demo did not do what it is there to show."""


@dataclass(frozen=True)
class Options:
    """Of a demo run: `scale` is the part of the patients that is made, `bound` the accuracy that must be reached."""

    out: Path
    seed: int = 0
    scale: float = 1.0
    epochs: int = EPOCHS
    bound: float = BOUND


def run(options: Options, console: Console) -> Path:
    """Run the demo in `options.out`; what an earlier run made there goes first. Returns the page.

    Raises:
        UsageError: a folder that holds other things.
        DemoFailed: training failed, or did not reach the bound.
    """
    ledger = Ledger(options.out)
    for name in ledger.clean():
        console.print(Text(f"note: {name} was not made by the demo and stays"))
    out, seconds = options.out, dict[str, float]()
    with _part(console, seconds, "files", "Making DICOM files"), ledger.stage("dicoms", "labels.csv"):
        made = make(out / "dicoms", out / "labels.csv", options.seed, options.scale, len(os.sched_getaffinity(0)))
        syntaxes = count_syntaxes(out / "dicoms")
        copied = copy_test_files(out / "dicoms" / "pydicom")
        console.print(f"{made.files:,} files of {made.patients} patients in {len(syntaxes)} transfer syntaxes; "
                      f"{copied} files of the pydicom package beside them")  # fmt: skip
    with _part(console, seconds, "pack", "Packing them"), ledger.stage("shards", "shards.private"):
        _show(console, "radload", "pack", "--src", out / "dicoms", "--out", out / "shards", "--labels", made.labels, "--split", SPLIT)
        packed = pack(PackOptions(out / "dicoms", out / "shards", labels=made.labels, split=SPLIT), console)
        print_summary(packed, str(out / "shards"), console)
    with _part(console, seconds, "inspect", "Looking at the shards"), ledger.stage("contact_sheet.png"):
        _show(console, "radload", "inspect", out / "shards")
        with radload.open(out / "shards") as dataset:
            summary = summarise(dataset)
            print_tables(console, dataset, summary)
            notes = write_contact_sheet(dataset, out / "contact_sheet.png")
        for note in notes:
            console.print(Text(f"note: {note}"))
    with _part(console, seconds, "train", "Training on them"), ledger.stage("run"):
        flags = training_flags(out, options.epochs, options.seed)
        _show(console, "python", "train/pretrain.py", *flags)
        train(out, flags)
    with ledger.stage("curves.png", "report.html"):
        report = _report(out, made, packed, summary, syntaxes, seconds, options.bound)
        write_report(report, out / "report.html")
    console.print()
    for name, value in seconds.items():
        console.print(f"{name:8} {value:6.1f} s")
    console.print(
        Text(
            f"accuracy on unseen patients {report.result['top1']:.1%}; the modality alone gives {report.modality_only:.1%}"
        )
    )
    console.print(Text(f"see {out / 'report.html'}"))
    if report.result["top1"] < options.bound:
        raise DemoFailed(
            f"the network names the right class for only {report.result['top1']:.1%} of the unseen patients' images, at least "
            f"{options.bound:.0%} was expected: training, loading or packing is broken (log: {out / 'run' / 'log.jsonl'})"
        )
    return out / "report.html"


def copy_test_files(folder: Path) -> int:
    """Copy the files that lie inside the pydicom package to `folder`, and return how many.

    Not through `get_testdata_files`, which would try to download what the package does not hold.
    """
    source = Path(pydicom.data.__file__).parent / "test_files"
    ignore = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(source, folder, ignore=ignore, copy_function=shutil.copyfile)
    return sum(path.is_file() for path in folder.rglob("*"))


def count_syntaxes(folder: Path) -> list[tuple[str, int]]:
    """Transfer syntaxes of the DICOM files under `folder`, most frequent first."""
    counts: Counter[str] = Counter()
    for path in folder.rglob("*.dcm"):
        meta = pydicom.filereader.read_file_meta_info(path)
        counts[meta.TransferSyntaxUID.name] += 1
    return counts.most_common()


def count_rejects(path: Path) -> list[tuple[str, str, int]]:
    """(code, reason, files) of a rejects.parquet, most frequent first."""
    table = pq.read_table(path, columns=["source", "code", "reason"]).to_pylist()
    files = {(row["source"], row["code"], row["reason"]) for row in table}
    counts = Counter((code, reason) for _, code, reason in files)
    return [
        (code, reason, count) for (code, reason), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def modality_only(summary: Summary) -> float:
    """Accuracy on the validation split of guessing, for each modality, its most frequent class there (class names start with it)."""
    best: Counter[str] = Counter()
    for row in summary.classes:
        modality = row.name.split()[0]
        best[modality] = max(best[modality], row.samples[1])
    return sum(best.values()) / max(sum(row.samples[1] for row in summary.classes), 1)


def training_flags(out: Path, epochs: int, seed: int) -> list[str]:
    """What the training script is told."""
    where = ["--shards", str(out / "shards"), "--out", str(out / "run")]
    return [*where, "--seed", str(seed), "--epochs", str(epochs), *TRAINING]


def train(out: Path, flags: Sequence[str]) -> None:
    """Run the training script in a process of its own, as its user would.

    Raises:
        DemoFailed: it did not end well.
    """
    spec = find_spec("radload.train.pretrain")
    if spec is None or spec.origin is None:
        raise DemoFailed("the training script is not installed: install radload with `pip install -e .`")
    # Half of the cores, the other half is for the loader: threads that wait for each other crawl on a core that is not theirs.
    threads = {"OMP_NUM_THREADS": str(max(len(os.sched_getaffinity(0)) // 2, 1))}
    code = subprocess.run([sys.executable, spec.origin, *flags], check=False, env={**os.environ, **threads}).returncode
    if code != 0 or not (out / "run" / "DONE").is_file():
        raise DemoFailed(f"training ended with exit code {code}: its messages stand above")


def _report(
    out: Path,
    made: Made,
    packed: PackSummary,
    summary: Summary,
    syntaxes: list[tuple[str, int]],
    seconds: dict[str, float],
    bound: float,
) -> Report:
    log = read_log(out / "run" / "log.jsonl")
    validations: list[dict[str, Any]] = [line for line in log if line["kind"] == "val"]
    if not validations:
        raise DemoFailed("training wrote no validation: the validation split holds no labelled sample")
    alone = modality_only(summary)
    title = f"{ARCH}, {len(summary.classes)} classes, measured on patients that training never sees"
    write_curves(log, out / "curves.png", modality_only=alone, title=title)
    about = json.loads((out / "run" / "run.json").read_bytes())
    return Report(
        pack=packed,
        summary=summary,
        rejects=count_rejects(out / "shards.private" / "rejects.parquet"),
        syntaxes=syntaxes,
        result=validations[-1],
        bound=bound,
        modality_only=alone,
        recipe=Recipe.from_dict(about["preparation"]["recipe"]).describe(),
        seconds=seconds,
        arch=ARCH,
        contact_sheet=out / "contact_sheet.png",
        curves=out / "curves.png",
    )


@contextmanager
def _part(console: Console, seconds: dict[str, float], name: str, title: str) -> Iterator[None]:
    console.print()
    console.rule(Text(title), align="left")
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started


def _show(console: Console, *command: object) -> None:
    """What a user would type for this part, in one piece to copy."""
    console.print(Text("$ " + shlex.join(map(str, command)), style="bold"), soft_wrap=True)
