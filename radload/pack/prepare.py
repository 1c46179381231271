"""From a catalog to a plan, before anything is written: select, divide, thin. What pack and its dry run have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from radload.errors import UsageError
from radload.pack import privacy
from radload.pack.catalog import Scan
from radload.pack.divide import Division, divide
from radload.pack.options import MEBIBYTE, Checked, PackOptions
from radload.pack.plan import Plan, Pseudonym, ShardOptions, make_plan
from radload.pack.scan import Catalog, InputFile
from radload.pack.select import keep_selected, matching_rows, not_selected
from radload.pack.workspace import Folders


def prepare(
    options: PackOptions, checked: Checked, folders: Folders, files: Sequence[InputFile], scan: Scan
) -> tuple[Catalog, Division]:
    """The catalog with the images that --where selects, and how they are divided.

    Raises:
        UsageError: nothing to pack, or a rule or table that cannot be used.
    """
    catalog = scan.read(files)
    if not catalog.headers:
        raise UsageError(_no_images(options, catalog))
    if options.where is not None:
        images = len(catalog.headers)
        catalog = keep_selected(catalog, matching_rows(scan.data, options.where, "--where"))
        if not catalog.headers:
            raise UsageError(
                f"--where is true for none of the {images:,} images: correct the expression, or leave it out"
            )
    held = None if options.holdout is None else matching_rows(scan.data, options.holdout, "--holdout")
    return catalog, divide(options, checked, folders, files, catalog, held)


def plan_shards(
    options: PackOptions, checked: Checked, out: Path, catalog: Catalog, division: Division, pseudonym: Pseudonym
) -> Plan:
    """The plan of the shards below `out`."""
    target = None if options.shard_size is None else max(1, int(options.shard_size * MEBIBYTE))
    shard_options = ShardOptions(
        options.source.resolve(),
        out,
        checked.codec,
        checked.color,
        checked.axis,
        target,
        checked.thinnings,
        options.drop_empty,
    )
    return make_plan(catalog.headers, division.patients, division.splits, options.split_seed, shard_options, pseudonym)


def with_left_out(catalog: Catalog, plan: Plan) -> Catalog:
    """The catalog with a reject for each file of which --slices and --frames leave nothing."""
    rejects = not_selected(catalog, plan.left_out, "--slices or --frames leaves out all of its frames")
    return replace(catalog, rejects=(*catalog.rejects, *rejects))


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
    return (
        f"--src {options.source} holds no image that can be packed ({len(catalog.rejects):,} files rejected: {codes}; "
        f"{catalog.ignored:,} ignored): give a folder with readable DICOM, NIfTI, PNG or JPEG files"
    )
