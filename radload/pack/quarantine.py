"""Takes out of a catalog what may hold burned-in text, and tells what is cut away or blanked in the files that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from radload.pack import radimagenet
from radload.pack.burned_in import Action, decide, rule_of
from radload.pack.codes import BURNED_IN, QUARANTINED
from radload.pack.compact import Lazy, chosen, without
from radload.pack.decisions import LEAVE_OUT, PACK, Decision, check_decisions, read_decisions
from radload.pack.groups import Group, group_of
from radload.pack.options import PackOptions
from radload.pack.plan import Plan, ShardJob
from radload.pack.redact import Redaction
from radload.pack.scan import Catalog, Reject
from radload.pack.terms import limited
from radload.sources import Header


@dataclass(frozen=True, slots=True)
class Screened:
    """A catalog after the table and the decisions.

    Attributes:
        catalog: its headers are packed, its rejects hold the others.
        redactions: source -> what is cut away or blanked; files without are as they are.
        groups: of the files in quarantine -> number of files; attestable: how many of them are PNG or JPEG.
    """

    catalog: Catalog
    redactions: Mapping[str, Redaction]
    groups: Mapping[Group, int]
    attestable: int


def prepared(header: Header) -> Header:
    """A scanned header as pack and review see it: groups are made of these."""
    return limited(radimagenet.with_modality(header))


def screen(catalog: Catalog, options: PackOptions, spare: Callable[[Header], bool] = lambda header: False) -> Screened:
    """Apply the table (`burned_in.RULES`), and then --decisions to what it puts in quarantine.

    Args:
        spare: true for files that are no images and stay as they are: masks.

    Raises:
        UsageError: decisions that cannot be used.
    """
    as_it_is = Action.PACK, None
    outcomes: dict[int, tuple[Action, Redaction | None]] = {}  # of those that are not packed as they are
    for position, header in enumerate(catalog.headers):
        outcome = as_it_is if spare(header) else decide(header, options.attest_no_phi, options.crop_us_regions)
        if outcome != as_it_is:
            outcomes[position] = outcome
    asked = {
        position: group_of(catalog.headers[position])
        for position, (action, _) in outcomes.items()
        if action is Action.QUARANTINE
    }
    decisions = _decisions(options.decisions, {group.name: group for group in asked.values()})
    gone: list[int] = []
    rejects: list[Reject] = []
    said: dict[str, str] = {}  # each reason as one text: there are as many as groups
    redactions: dict[str, Redaction] = {}
    waiting: Counter[Group] = Counter()
    attestable = 0
    for position, (action, redaction) in outcomes.items():
        header = catalog.headers[position]
        if position in asked:
            decision = decisions.get(asked[position].name, Decision())
            action = {PACK: Action.PACK, LEAVE_OUT: Action.LEAVE_OUT}.get(decision.decision, Action.QUARANTINE)
            redaction = decision.redaction
        if action is Action.PACK:
            if redaction is not None:
                redactions[header.source] = redaction
            continue
        gone.append(position)
        code, reason = BURNED_IN, f"burned-in text: {rule_of(header).name}"
        if action is Action.QUARANTINE:
            waiting[asked[position]] += 1
            attestable += rule_of(header).attested is not None
            code, reason = QUARANTINED, f"may hold burned-in text: {rule_of(header).name}, group {asked[position].name}"
        elif position in asked:
            reason = f"left out by decision on group {asked[position].name}"
        reason = said.setdefault(reason, reason)
        rejects += [Reject(source, None, code, reason) for source in (header.source, *header.parts)]
    rejects = sorted((*catalog.rejects, *rejects), key=lambda one: one.source.encode("utf-8", "surrogateescape"))
    kept = without(len(catalog.headers), gone)
    catalog = replace(catalog, headers=chosen(catalog.headers, kept), rejects=tuple(rejects), rows=catalog.rows[kept])
    return Screened(catalog, redactions, waiting, attestable)


def with_redactions(plan: Plan, redactions: Mapping[str, Redaction]) -> Plan:
    """The plan whose jobs know what to cut away and to blank."""
    if not redactions:
        return plan

    def redacted(number: int) -> ShardJob:
        job = plan.jobs[number]
        files = [file for series in job.series for file in series.files]
        own = {file.row: redactions[file.header.source] for file in files if file.header.source in redactions}
        return replace(job, redactions=own)

    return replace(plan, jobs=Lazy(len(plan.jobs), redacted))


def notes(options: PackOptions, screened: Screened) -> list[str]:
    """What the user should know about the quarantine."""
    if not screened.groups:
        return []
    return [f"{_waiting(screened)} may hold burned-in text and were not packed: {_advice(options, screened)}"]


def nothing_left(options: PackOptions, screened: Screened) -> str:
    """The message where the quarantine leaves no image."""
    found = f"{_waiting(screened)} may hold burned-in text"
    return f"--src {options.source} holds no image that can be packed: {found}; {_advice(options, screened)}"


def account(options: PackOptions, digest: str | None, before: Sequence[str] = ()) -> dict[str, Any]:
    """The manifest's account.

    Args:
        digest: SHA-256 of the file with the decisions; before: those of earlier packs of the data set, the oldest first.
    """
    new = digest is not None and digest != (before[-1] if before else None)
    return {
        "attested": options.attest_no_phi,
        "us_regions_cropped": options.crop_us_regions,
        "decisions": [*before, digest] if new else list(before),
    }


def _decisions(path: Path | None, groups: Mapping[str, Group]) -> dict[str, Decision]:
    if path is None:
        return {}
    decisions = read_decisions(path)
    check_decisions(path, decisions, groups)
    return decisions


def _waiting(screened: Screened) -> str:
    files, groups = sum(screened.groups.values()), len(screened.groups)
    return f"{files:,} {'file' if files == 1 else 'files'} in {groups:,} {'group' if groups == 1 else 'groups'}"


def _advice(options: PackOptions, screened: Screened) -> str:
    ways = f"look at them by `radload review {options.out} --src {options.source}` and pack with --decisions"
    if not screened.attestable:
        return ways
    return f"{ways}, or with --attest-no-phi if you know that PNG and JPEG files hold no text"
