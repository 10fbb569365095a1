"""Progress as one live display on a terminal."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ndogo.core.progress import Report

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def live(console: "Console", title: str = "") -> Iterator[Report]:
    """A bar per kind of work, with rate, time left and the newest numbers, such as the loss; gone at the end.

    Nothing is shown where the console is no terminal.
    """
    from rich import progress as bars
    from rich.text import Text
    from rich.theme import Theme

    class Rate(bars.ProgressColumn):
        """Units a second."""

        def render(self, task: bars.Task) -> Text:
            """As text."""
            return Text(f"{task.speed:,.1f}/s" if task.speed else "")

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        Rate(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[numbers]}"),
    )
    # Prefect's console has its log lines' styles only
    with (
        console.use_theme(Theme()),
        bars.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown,
    ):
        known: dict[str, bars.TaskID] = {}

        def report(doing: str, done: int, total: int | None, numbers: Mapping[str, float] | None = None) -> None:
            if doing not in known:
                known[doing] = shown.add_task(f"{title}{doing}", total=total, numbers="")
            newest = "  ".join(f"{name} {value:.4g}" for name, value in (numbers or {}).items())
            shown.update(known[doing], completed=done, total=total, numbers=newest)

        yield report
