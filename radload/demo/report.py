"""report.html: one file with both pictures and the tables of a demo run, nothing loaded from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from radload.dataset.files import atomic_file
from radload.inspect.summary import Summary
from radload.inspect.tables import size_text
from radload.pack.summary import PackSummary


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        pack, summary: what was packed, and what the data set holds.
        rejects: (code, reason, files), most frequent first.
        syntaxes: (transfer syntax, files) of the generated part.
        result: the last line of validation in the log; bound: what its accuracy had to reach; modality_only: see curves.
        recipe: the windows of the run, as text; seconds: by part; arch: the network.
    """

    pack: PackSummary
    summary: Summary
    rejects: Sequence[tuple[str, str, int]]
    syntaxes: Sequence[tuple[str, int]]
    result: dict[str, Any]
    bound: float
    modality_only: float
    recipe: str
    seconds: dict[str, float]
    arch: str
    contact_sheet: Path
    curves: Path


def write_report(report: Report, path: Path) -> None:
    """Write the page."""
    page = _PAGE.substitute(
        style=_STYLE,
        lead=_lead(report),
        contact=_picture(report.contact_sheet, "Contact sheet: one row per class, in the windows of the recipe"),
        curves=_picture(report.curves, "Loss and accuracy of training and of unseen patients"),
        recipe=escape(report.recipe),
        classes=_classes(report),
        result=_result(report),
        input=_input(report),
        splits=_splits(report.summary),
        modalities=_modalities(report.summary),
        rejects=_rejects(report),
        syntaxes=_table(("transfer syntax", "files"), report.syntaxes),
        seconds=_table(("part", "seconds"), [(name, f"{value:.1f}") for name, value in report.seconds.items()]),
    )
    with atomic_file(path) as file:
        file.write(page.encode())


def _lead(report: Report) -> str:
    pack, result = report.pack, report.result
    seconds = sum(report.seconds.values())
    return escape(
        f"{pack.files:,} files of phantoms and of pydicom's own test data became {pack.samples:,} samples in "
        f"{sum(row.shards for row in report.summary.splits)} shards; "
        f"{report.arch} learned {len(report.summary.classes)} classes from them, and names the right one for "
        f"{result['top1']:.0%} of {result['samples']:,} images of patients that it never saw. All in all that took {seconds:.0f} seconds."
    )


def _picture(path: Path, text: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


def _result(report: Report) -> str:
    result = report.result
    rows = [
        ("accuracy on unseen patients", f"{result['top1']:.1%}"),
        ("mean of the classes' AUROC", f"{result['auroc']:.3f}" if result["auroc"] is not None else "none"),
        ("telling the modality alone gives", f"{report.modality_only:.1%}"),
        ("the demo fails below", f"{report.bound:.0%}"),
    ]
    return _table(("", ""), rows)


def _classes(report: Report) -> str:
    areas = report.result["auroc_by_class"]
    rows = [
        (
            row.name,
            *(f"{count:,}" for count in row.samples[:2]),
            f"{row.patients:,}",
            f"{areas[row.name]:.3f}" if row.name in areas else "",
        )
        for row in report.summary.classes
    ]
    return _table(("class", "train", "val", "patients", "AUROC"), rows)


def _input(report: Report) -> str:
    pack = report.pack
    rows = [
        ("files", f"{pack.files:,}"),
        ("packed", f"{pack.packed:,}"),
        ("rejected, each with a reason", f"{sum(pack.rejected.values()):,}"),
        ("ignored: no image", f"{pack.ignored:,}"),
        ("samples (slices)", f"{pack.samples:,}"),
        ("of them with exactly the source's values", f"{report.summary.exact:,}"),
        ("of them from a lossy source", f"{report.summary.lossy:,}"),
        ("stored pixels", size_text(sum(row.raw for row in report.summary.codecs))),
        ("the same in shards", size_text(sum(row.coded for row in report.summary.codecs))),
        ("slices per second, scan and index included", f"{pack.slices_per_second:,.0f}"),
    ]
    return _table(("pack", ""), rows)


def _splits(summary: Summary) -> str:
    rows = [
        (
            row.name,
            *(f"{value:,}" for value in (row.patients, row.series, row.samples, row.shards)),
            size_text(row.bytes),
        )
        for row in summary.splits
    ]
    return _table(("split", "patients", "series", "samples", "shards", "bytes"), rows)


def _modalities(summary: Summary) -> str:
    rows = [
        (row.name, f"{row.patients:,}", f"{row.series:,}", f"{row.samples:,}",
         ", ".join(f"{rows}×{cols}" for rows, cols, _ in row.sizes) + (f", {row.other_sizes} more" if row.other_sizes else ""),
         ", ".join(name for name, _ in row.dtypes), f"{row.inverted:,}")
        for row in summary.modalities
    ]  # fmt: skip
    return _table(("modality", "patients", "series", "samples", "rows×columns", "stored as", "MONOCHROME1"), rows)


def _rejects(report: Report) -> str:
    if not report.rejects:
        return "<p>Nothing was rejected.</p>"
    return _table(("code", "reason", "files"), report.rejects)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The first column and texts are left, numbers right (by their look)."""
    top = "".join(f"<th{_align(name, position, True)}>{escape(name)}</th>" for position, name in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_align(str(cell), i, False)}>{escape(str(cell))}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    header = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{header}<tbody>{body}</tbody></table></div>'


def _align(text: str, position: int, head: bool) -> str:
    number = position > 0 and (text[:1].isdigit() or (head and text not in ("reason", "rows×columns", "stored as")))
    return ' class="n"' if number and "×" not in text else ""


_STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfc; --ink: #1b2129; --soft: #5d6875; --line: #e1e5ea;
  --card: #fff; --accent: #0b63b5; }
@media (prefers-color-scheme: dark) { :root { --bg: #0e1116; --ink: #e8ecf1; --soft: #98a3b0; --line: #262d37;
  --card: #141922; --accent: #7abeff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 3rem 1.5rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.02em; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .8rem; }
p { max-width: 70ch; margin: .4rem 0 .9rem; }
.lead { font-size: 1.12rem; color: var(--soft); }
img { display: block; width: 100%; height: auto; border-radius: 8px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 1.2rem 2.4rem; align-items: start; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .38rem .7rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .9rem 1.1rem; overflow-x: auto;
  font: .84rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
code { font: .92em ui-monospace, Menlo, Consolas, monospace; color: var(--accent); }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>radload demo</title>
<style>$style</style>
</head>
<body>
<main>
<h1>From DICOM files to a network that learned</h1>
<p class="lead">$lead</p>
<h2>What the network sees</h2>
<p>One row per class, from as many patients as possible, rendered by the loader's own kernel in the windows that each row states.
A CT slice shows its three windows side by side: they are the three channels of the input. Half of the
radiographs are stored with low values as white (MONOCHROME1): the loader turns them round.</p>
$contact
<h2>What it learned</h2>
<p>Training images and validation images come from different patients.</p>
$curves
<div class="pair"><div>$result</div><div>$classes</div></div>
<h2>What was packed</h2>
<div class="pair"><div>$input</div><div>$splits</div></div>
$modalities
<h2>What was not packed, and why</h2>
<p>The files inside the pydicom package are made to be difficult: among them are damaged ones, ones without pixels, and ones that
no free decoder reads. Every file ends as packed, rejected with a reason, or ignored because it is no image at all. Which file it
was stands in <code>shards.private/rejects.parquet</code>.</p>
$rejects
<h2>The windows of the run</h2>
<pre>$recipe</pre>
<h2>The generated files, and the time it took</h2>
<div class="pair"><div>$syntaxes</div><div>$seconds</div></div>
</main>
</body>
</html>
""")
