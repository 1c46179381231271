"""Expressions over the catalog's columns, as in a SQL WHERE, evaluated by DuckDB: which files are packed, and which patients are held out.

The connection can reach nothing but the catalog: no file, no network, no extension, no variable of this process. An expression that is
no function of the row (a subquery, the clock, chance) is refused: a pack that goes on must choose the same files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.pack.catalog_schema import IMAGE, SCHEMA
from radload.pack.codes import NOT_SELECTED
from radload.pack.compact import chosen, without
from radload.pack.masks import Masks, of_images
from radload.pack.scan import Catalog, Reject
from radload.sources import Header

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset as ds

_TEST: Final = 2  # of SPLITS
_CLOCKS: Final = frozenset(
    ("age", "getvariable", "localtime", "localtimestamp", "now", "today", "transaction_timestamp")
)
_CLOCK_PREFIXES: Final = ("current_", "get_current_", "txid_")


def check_expression(expression: str, option: str) -> None:
    """Raises UsageError, in one sentence, for what is no condition on the catalog's columns. Needs no catalog."""
    import pyarrow.dataset as ds

    matching_rows(ds.dataset(SCHEMA.empty_table()), expression, option)


def matching_rows(data: ds.Dataset, expression: str, option: str) -> NDArray[np.int64]:
    """Catalog rows of the images for which `expression` is true (not null), in rising order.

    Raises:
        UsageError: as `check_expression`, and for what fails on a value.
    """
    return true_rows(data, f"status = '{IMAGE}'", SCHEMA.names, expression, option)


def keep_selected(catalog: Catalog, masks: Masks, rows: NDArray[np.int64]) -> tuple[Catalog, Masks]:
    """The catalog with the images of catalog `rows` alone, and their masks; the others become rejects."""
    places = np.flatnonzero(~np.isin(catalog.rows, rows))
    kept = np.flatnonzero(np.isin(catalog.rows, rows))
    masks, unused = of_images(masks, kept)
    catalog = leave_out(catalog, places, "the expression of --where is not true for it")
    rejects = not_selected(unused, "the expression of --where is true for none of its images")
    return replace(catalog, rejects=(*catalog.rejects, *rejects)), masks


def leave_out(catalog: Catalog, places: NDArray[np.int64], reason: str) -> Catalog:
    """The catalog without the headers at `places`."""
    kept = without(len(catalog.headers), places)
    rejects = not_selected([catalog.headers[place] for place in places.tolist()], reason)
    return replace(
        catalog, headers=chosen(catalog.headers, kept), rejects=(*catalog.rejects, *rejects), rows=catalog.rows[kept]
    )


def not_selected(headers: Iterable[Header], reason: str) -> list[Reject]:
    """Rejects of the files of these headers, their parts included."""
    return [Reject(name, None, NOT_SELECTED, reason) for header in headers for name in (header.source, *header.parts)]


def hold_out(
    given: dict[str, int], catalog: Catalog, patients: Sequence[str], rows: NDArray[np.int64]
) -> dict[str, int]:
    """Patients with a file among catalog `rows` -> test.

    Args:
        given: patient -> split that a list gives; patients: of each header, the identity of the patient, or of the group he stands in.

    Raises:
        UsageError: none of the selected images matches, or a list of splits puts such a patient elsewhere.
    """
    places = np.flatnonzero(np.isin(catalog.rows, rows)).tolist()
    held = {patients[place]: _TEST for place in places}
    if not held:
        raise UsageError(
            "--holdout matches none of the images that are packed: correct the expression, or leave it out"
        )
    torn = sum(given.get(identity, _TEST) != _TEST for identity in held)
    if torn:
        raise UsageError(
            f"--holdout puts {torn} patients into the test split whom the given splits put elsewhere: say the same in both"
        )
    return held


def true_rows(
    data: ds.Dataset | pa.Table, among: str, columns: Sequence[str], expression: str, option: str
) -> NDArray[np.int64]:
    """Values of column "row" of `data` where `expression` is true (not null), in rising order.

    Args:
        among: a condition of ours on the rows that count; columns: what the expression may name; option: which had it, for messages.

    Raises:
        UsageError: in one sentence, for what is no condition on these columns, or fails on a value.
    """
    import duckdb

    with _connection(data) as connection:
        try:
            _check_tree(connection, expression, option, columns)
            images = connection.view("catalog").filter(among)
            chosen = images.filter(expression).project("row")
            kind = str(images.project(expression).types[0])
        except (duckdb.Error, RuntimeError) as error:
            text = str(error).splitlines()[0].strip().rstrip(".:") if str(error) else type(error).__name__
            raise UsageError(
                f"{option} cannot be understood ({text}): write a condition such as \"modality = 'CT' and rows >= 512\" on the columns "
                f"{', '.join(columns)}"
            ) from None
        if kind != "BOOLEAN":
            raise UsageError(f"{option} is no condition but a value ({kind}): compare it with something")
        try:
            rows = chosen.fetchnumpy()["row"]
        except (duckdb.Error, RuntimeError) as error:  # its text may quote a value of the catalog, such as a name
            raise UsageError(
                f"{option} fails on a value ({type(error).__name__}): compare a column with values of its own type"
            ) from None
    return np.sort(np.asarray(rows, np.int64))


@contextmanager
def _connection(data: ds.Dataset | pa.Table) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        connection.register("catalog", data)
        for setting in (
            "enable_external_access = false",
            "python_enable_replacements = false",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "lock_configuration = true",  # last: from here on nothing can be set
        ):
            connection.execute(f"SET {setting}")
        yield connection
    finally:
        connection.close()


def _check_tree(connection: duckdb.DuckDBPyConnection, expression: str, option: str, columns: Sequence[str]) -> None:
    """Refuse what is no function of one row. What DuckDB cannot parse is left to the evaluation, which says why."""
    found = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]).fetchone()
    tree = json.loads(found[0]) if found else {}
    volatile = {
        row[0]
        for row in connection.execute(
            "SELECT function_name FROM duckdb_functions() WHERE stability = 'VOLATILE'"
        ).fetchall()
    }
    for node in _nodes(tree):
        name = str(node.get("function_name", "")).lower()
        names = [name] if name else [str(part).lower() for part in node.get("column_names", [])[:1]]
        if node.get("class") == "SUBQUERY":
            raise UsageError(f"{option} has a subquery: write one condition on the columns")
        for one in names:
            clock = one in _CLOCKS or one.startswith(_CLOCK_PREFIXES)
            if (clock and one not in columns) or (name and one in volatile):
                raise UsageError(
                    f"{option} uses {one}, which is not the same at every run: write a fixed date or number in its place"
                )


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
