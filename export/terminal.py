"""How commands talk to people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

Tell = Callable[[str, float], None]

#: Names, paths and item ids are shown as they are: brackets in them are no markup.
console = Console(stderr=True, markup=False)
#: Between two lines that tell how far something is.
_SECONDS = 10.0


@contextmanager
def bar(title: str) -> Iterator[Tell]:
    """A progress bar that hears what is being done; a line now and then where there is no terminal."""
    if not console.is_terminal:
        yield _lines(title)
        return
    note = TextColumn("{task.fields[note]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), note, TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        shown = progress.add_task(title, total=1.0, note="")
        yield lambda note, share: progress.update(shown, completed=share, note=note)
        progress.update(shown, completed=1.0)


def _lines(title: str) -> Tell:
    told, next_at = "", 0.0

    def tell(note: str, share: float) -> None:
        nonlocal told, next_at
        now = time.monotonic()
        if note != told and now >= next_at:
            console.print(f"{title}: {note}, {share:.0%}", highlight=False)
            told, next_at = note, now + _SECONDS

    return tell


def say(text: str) -> None:
    """Tells a person what has become of a command, in one line however long: a path that is broken can't be copied."""
    console.print(text, soft_wrap=True)


def warn(text: str) -> None:
    """Tells a person why figures must not be believed."""
    console.print(Text.assemble(("warning:", "yellow"), " ", text))


def fail(error: Exception) -> None:
    """Tells a person why a command has not done what it was asked for."""
    console.print(Text.assemble(("tidecast-export:", "red"), " ", str(error)), soft_wrap=True)


def done(title: str, run: Callable[[], Any]) -> Any:
    """Runs something long, and says how long it took."""
    start = time.monotonic()
    with console.status(title):
        result = run()
    console.print(f"{title}: {time.monotonic() - start:.1f} s")
    return result
