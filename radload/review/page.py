"""index.html of the review: a section per group with its facts, projections, examples and the lines to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pydicom.uid import UID

from radload.pack.groups import Group

_STYLE = """
body{background:#0e1116;color:#ecf0f5;font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1280px;padding:0 1.5rem}
h2{margin:2.5rem 0 .2rem;font-size:1.15rem} p,li,table{color:#c4ccd6} code,pre{color:#ffb040;font-size:.92em}
table{border-collapse:collapse;width:100%} td,th{text-align:left;
padding:.25rem .8rem .25rem 0;border-bottom:1px solid #262d37;font-weight:400}
th{color:#929caa} td.n{text-align:right} a{color:#7abeff} figure{display:inline-block;margin:.6rem 1rem .2rem 0;vertical-align:top}
figcaption{color:#929caa;font-size:.85rem} img{max-width:100%;display:block}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A group as the page shows it. frames, unreadable (files): as read; decision: what decisions.toml says now."""

    group: Group
    files: int
    frames: int
    unreadable: int
    decision: str


def page(sections: Sequence[Section]) -> str:
    """The page; its pictures lie beside it, see `names`."""
    files = sum(section.files for section in sections)
    rows = "".join(_row(section) for section in sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>radload review</title><style>{_STYLE}</style></head><body>
<h1>{_count(files, "file")} in quarantine</h1>
<p>Their pixels may hold burned-in text, such as a name. Files of a group come from one device at one size, so text stands at the same
place. The maximum shows bright text that stands on any frame, the minimum dark text, the mean what stands on all. Rulers count pixels from
the top left; the orange frame is the scan region that the files give. Fill in <code>decisions.toml</code> beside this page, then pack with
<code>--decisions</code>.</p>
<p>This folder shows patients' images and maybe their names: keep it with the private folder.</p>
<table><tr><th>group<th>modality<th>manufacturer<th>model<th>rows x cols<th>scan region<th>SOP class<th>files<th>frames<th>decision</tr>
{rows}</table>
{"".join(_section(section) for section in sections)}
</body></html>
"""


def names(group: Group) -> tuple[str, str, str, str]:
    """File names of a group's pictures: maximum, minimum, mean, examples."""
    maximum, minimum, mean, examples = (
        f"{group.name}-{kind}.png" for kind in ("maximum", "minimum", "mean", "examples")
    )
    return maximum, minimum, mean, examples


def facts(section: Section) -> str:
    """One line about a group."""
    group = section.group
    device = " ".join(part for part in (group.manufacturer, group.model) if part)
    parts = (
        group.modality,
        device,
        f"{group.rows} x {group.cols}",
        _count(section.files, "file"),
        _count(section.frames, "frame"),
    )
    return ", ".join(part for part in parts if part)


def _row(section: Section) -> str:
    group = section.group
    region = "" if group.region is None else str(list(group.region))
    texts = (
        group.modality,
        group.manufacturer,
        group.model,
        f"{group.rows} x {group.cols}",
        region,
        _class(group.sop_class),
    )
    cells = "".join(f"<td>{escape(text)}" for text in texts)
    name = escape(group.name)
    return (
        f'<tr><td><a href="#{name}">{name}</a>{cells}<td class="n">{section.files:,}<td class="n">{section.frames:,}'
        f"<td>{escape(section.decision)}</tr>\n"
    )


def _section(section: Section) -> str:
    maximum, minimum, mean, examples = (escape(name) for name in names(section.group))
    damaged = f", {_count(section.unreadable, 'file')} unreadable" if section.unreadable else ""
    name = escape(section.group.name)
    return f"""<h2 id="{name}">{name}</h2>
<p>{escape(facts(section) + damaged)}</p>
<figure><img src="{maximum}" alt="maximum over all frames"><figcaption>maximum over all frames</figcaption></figure>
<figure><img src="{minimum}" alt="minimum over all frames"><figcaption>minimum over all frames</figcaption></figure>
<figure><img src="{mean}" alt="mean of all frames"><figcaption>mean of all frames</figcaption></figure>
<figure><img src="{examples}" alt="single frames"><figcaption>single frames</figcaption></figure>
<pre>[groups."{name}"]
decision = "{escape(section.decision)}"</pre>
"""


def _class(uid: str) -> str:
    return UID(uid).name.removesuffix(" Storage") if uid else ""


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"
