"""The `radload` program: registers the commands, and turns what radload says to its user into one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from radload.commands.audit import audit
from radload.commands.bench import bench
from radload.commands.cohort import cohort
from radload.commands.export import export
from radload.commands.inspect import inspect
from radload.commands.label import label
from radload.commands.pack import pack
from radload.commands.plan import finish, plan
from radload.commands.prepare import prepare
from radload.commands.review import review
from radload.commands.scan import scan
from radload.commands.trace import trace
from radload.commands.verify import verify
from radload.commands.versions import compact, forget, versions
from radload.errors import RadloadError

FAILED = 2

# Without pretty tracebacks: they print local variables, and those hold names of files and patients.
app = typer.Typer(
    help="Pack radiology images into shards, and look at them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(scan)
app.command()(pack)
app.command()(plan)
app.command()(finish)
app.command()(label)
app.command()(inspect)
app.command()(bench)
app.command()(audit)
app.command()(trace)
app.command()(cohort)
app.command()(review)
app.command()(verify)
app.command()(versions)
app.command()(forget)
app.command()(compact)
app.command()(export)
app.command()(prepare)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with `arguments` (those of the process by default); always ends with SystemExit."""
    try:
        app(None if arguments is None else list(arguments), prog_name="radload")
    except RadloadError as error:
        typer.echo(f"radload: {error}", err=True)
        sys.exit(FAILED)
    except OSError as error:  # without its path, which may hold a patient's name
        reason = (error.strerror or type(error).__name__).lower()
        typer.echo(
            f"radload: the command ended, because the system refused what it needs ({reason}): look at the folders that it was given, "
            "and at the room on their disks, then run it again",
            err=True,
        )
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
