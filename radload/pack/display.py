"""Progress on a terminal: counts, rate and time left; silent elsewhere. It never shows a name from the source."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class Display:
    """One bar at a time; a context manager."""

    def __init__(self, console: Console | None) -> None:
        """`console` None, or one that is no terminal: nothing is shown."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
        self._task = self._progress.add_task("", visible=False, unit="")
        self._done = 0

    def start(self, what: str, total: int | None, unit: str, done: int = 0) -> None:
        """Begin a new bar of `total` units (None: nobody knows), `done` of which were there before."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total, completed=done, unit=unit)
        self._done = done

    def advance(self, count: int) -> None:
        """`count` more units are done."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """`done` units are done in all."""
        self._done = done
        self._progress.update(self._task, completed=done)

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
