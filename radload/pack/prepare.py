"""From a catalog to a plan, before anything is written: what pack and its dry run have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from radload.errors import UsageError
from radload.pack import privacy, quarantine
from radload.pack.before import Before, only_new
from radload.pack.catalog import Scan
from radload.pack.codes import LOOKS_LIKE_MASK
from radload.pack.display import Display
from radload.pack.divide import Division, divide
from radload.pack.duplicates import hash_images, link_patients
from radload.pack.eligible import without_left_out
from radload.pack.masks import Masks, is_mask, take_masks
from radload.pack.options import INCLUDABLE, MEBIBYTE, Checked, PackOptions, check_axis
from radload.pack.patients import Patient
from radload.pack.plan import Following, Plan, Pseudonym, ShardOptions, make_plan
from radload.pack.quarantine import Screened
from radload.pack.scan import Catalog, InputFile
from radload.pack.select import keep_selected, matching_rows, not_selected
from radload.pack.workspace import Folders
from radload.sources import Header


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is packed: the catalog with the images of it and what is cut away of them, their masks, and how the patients are divided.

    skipped: files that the data set has already.
    """

    screened: Screened
    masks: Masks
    division: Division
    skipped: frozenset[str] = frozenset()


def prepare(
    options: PackOptions,
    checked: Checked,
    folders: Folders,
    files: Sequence[InputFile],
    scan: Scan,
    masks_given: Sequence[re.Pattern[str]],
    workers: int,
    display: Display,
    before: Before | None = None,
) -> Prepared:
    """Leave out what is no training image, or waits in quarantine, take the masks out, select by --where, and divide the patients.

    Masks are paired before --where looks at the images: a mask that fits two images fits two, whichever of them is selected.

    Args:
        masks_given: patterns of --masks; workers, display: for --link-duplicates, which reads the images.
        before: what the private folder says of patients and files; None: nothing.

    Raises:
        NothingNew: `before` leaves no image.
        UsageError: nothing to pack, or a rule or table that cannot be used.
    """
    catalog = scan.read(files, quarantine.prepared)
    catalog = without_left_out(catalog, checked.include)
    masks_as_images = LOOKS_LIKE_MASK in checked.include
    screened = quarantine.screen(catalog, options, partial(is_mask, patterns=masks_given, allow=masks_as_images))
    catalog, masks = take_masks(screened.catalog, masks_given, allow=masks_as_images)
    if not catalog.headers:
        raise UsageError(
            quarantine.nothing_left(options, screened) if screened.groups else _no_images(options, catalog)
        )
    if options.where is not None:
        images = len(catalog.headers)
        catalog, masks = keep_selected(catalog, masks, matching_rows(scan.data, options.where, "--where"))
        if not catalog.headers:
            raise UsageError(
                f"--where is true for none of the {images:,} images: correct the expression, or leave it out"
            )
    held = None if options.holdout is None else matching_rows(scan.data, options.holdout, "--holdout")

    def hashes(headers: Sequence[Header]) -> list[tuple[bytes, ...]]:
        display.start("comparing", len(headers), "files")
        limits, tick = checked.limits, display.advance
        redactions = screened.redactions
        return hash_images(folders.source, headers, checked.axis, checked.color, workers, limits, tick, redactions)

    patients, skipped = None, frozenset[str]()
    if before is not None:
        same = options.transform is None and checked.wide == "raw"  # else the packed pixels are not those of the file
        new = only_new(catalog, masks, options.patients, before, hashes if same else None)
        catalog, masks, patients, skipped = new.catalog, new.masks, new.patients, new.skipped
    screened = replace(screened, catalog=catalog)

    def link(patients: Sequence[Patient]) -> Mapping[str, str]:
        """Who must not be parted from whom, asked when the patients are known."""
        if not options.link_duplicates:
            return {}
        found: list[Sequence[bytes]] = [*hashes(catalog.headers)]
        packed = before.stand_ins(found, patients) if before is not None else []
        return link_patients(
            [*patients, *(patient for patient, _ in packed)], [*found, *((digest,) for _, digest in packed)]
        )

    division = divide(options, checked, folders, files, catalog, held, link, before, patients)
    return Prepared(screened, masks, division, skipped)


def plan_shards(
    options: PackOptions,
    checked: Checked,
    out: Path,
    prepared: Prepared,
    pseudonym: Pseudonym,
    following: Following | None = None,
) -> tuple[Plan, Screened]:
    """The plan of the shards below `out`, and the catalog with a reject for each file of which it leaves nothing."""
    target = None if options.shard_size is None else max(1, int(options.shard_size * MEBIBYTE))
    shard_options = ShardOptions(
        options.source.resolve(),
        out,
        checked.codec,
        checked.color,
        checked.axis,
        target,
        checked.wide,
        checked.kept,
        options.transform,
        checked.thinnings,
        options.drop_empty,
    )
    screened, division = prepared.screened, prepared.division
    catalog = screened.catalog
    seed = options.split_seed
    plan = make_plan(
        catalog.headers, division.patients, division.splits, seed, shard_options, pseudonym, prepared.masks, following
    )
    rejects = not_selected(_left_out(catalog, plan), "--slices or --frames leaves out all of its frames")
    screened = replace(screened, catalog=replace(catalog, rejects=(*catalog.rejects, *rejects)))
    return quarantine.with_redactions(plan, screened.redactions), screened


def _left_out(catalog: Catalog, plan: Plan) -> list[Header]:
    """Images of which no frame is planned, and masks none of whose images is."""
    used: set[int] = set()
    jobs = plan.jobs if plan.masks else ()  # making all of them takes a while
    for series in (series for job in jobs for series in job.series):
        used.update(file.mask.row for file in series.files if file.mask is not None)
        if series.segments is not None:
            used.add(series.segments.row)
    masks = [header for row, header in enumerate(plan.masks, len(catalog.headers)) if row not in used]
    return [*(catalog.headers[row] for row in plan.left_out), *masks]


def reuse_notes(scan: Scan) -> list[str]:
    """What the user should know about a catalog that was there before."""
    if not scan.reused:
        return []
    return [f"the catalog in the private folder was used: {scan.reused:,} of {scan.files:,} files were not read again"]


def selection_notes(options: PackOptions) -> list[str]:
    """How the images were chosen, without the text of an expression: it may hold a name or a date."""
    chosen = ["--where"] if options.where is not None else []
    chosen += [f"--slices {options.slices}"] if options.slices != "all" else []
    chosen += [f"--frames {options.frames}"] if options.frames != "all" else []
    chosen += ["--drop-empty"] if options.drop_empty else []
    return [f"not all images were packed: {', '.join(chosen)} (plan.json of the private folder)"] if chosen else []


def encoding(options: PackOptions) -> dict[str, Any]:
    """The manifest's account of what decided the stored values, and of whether series are whole."""
    return {
        "color": options.color,
        "axis": check_axis(options.axis),
        "wide": options.wide,
        "whole_series": not selection_notes(options),
    }


def split_rule(options: PackOptions, division: Division, key: bytes) -> dict[str, Any]:
    """The manifest's account of the splits; of --holdout a keyed hash: its text may hold a name, a place or a date."""
    if options.holdout is None:
        return division.rule
    held = {**division.rule["holdout"], "expression": privacy.pseudonym(key, "holdout", options.holdout)}
    return {**division.rule, "holdout": held}


def _no_images(options: PackOptions, catalog: Catalog) -> str:
    if not catalog.rejects:
        return f"--src {options.source} holds no image ({catalog.ignored:,} other files): give a folder with DICOM, NIfTI or PNG files"
    codes = ", ".join(sorted({reject.code for reject in catalog.rejects}))
    kinds = sorted({reject.code for reject in catalog.rejects} & set(INCLUDABLE))
    back = f", or bring files back by --include {' --include '.join(kinds)}" if kinds else ""
    return (
        f"--src {options.source} holds no image that can be packed ({len(catalog.rejects):,} files rejected: {codes}; "
        f"{catalog.ignored:,} ignored): give a folder with readable DICOM, NIfTI, PNG or JPEG files{back}"
    )
