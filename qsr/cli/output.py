"""What commands print: progress to standard error, tables and JSON to standard output."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsr.jobs.progress import Progress
    from qsr.jobs.train import TrainingProgress

_SECONDS_BETWEEN_LINES = 10.0
_LEAST_TEXT = 20
"""Characters of a table's first column that a narrow terminal must leave."""


@contextmanager
def shown_progress() -> "Iterator[Progress]":
    """Give a function that shows progress: bars on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total, description=_said(stage, note))

        yield show


def steps_shown(
    progress: "Progress", *, several_stages: bool = False
) -> "Callable[[TrainingProgress], None]":
    """Return a function that shows where a training stands.

    Args:
        progress: shows it.
        several_stages: name the stage, too.
    """

    def show(state: "TrainingProgress") -> None:
        stage = f"train, stage {state.stage}" if several_stages else "train"
        note = f"{state.steps_per_second:.0f} steps/s"
        if state.validation_psnr_db is not None:
            note += f", validation {state.validation_psnr_db:.2f} dB"
        progress(stage, state.step, state.steps, note)

    return show


class _LineProgress:
    """Prints a line when a stage begins, every ten seconds, and when it ends."""

    def __init__(self) -> None:
        self._stage = ""
        self._printed_at = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Print where ``stage`` is, if it is time to."""
        now = monotonic()
        if stage != self._stage or done == total or now - self._printed_at > _SECONDS_BETWEEN_LINES:
            sys.stderr.write(f"{_said(stage, note)}: {done}/{total}\n")
            sys.stderr.flush()
            self._stage, self._printed_at = stage, now


def _said(stage: str, note: str) -> str:
    return f"{stage} ({note})" if note else stage


def print_json(record: Any) -> None:
    """Print a record, or a sequence of records, as JSON; see :func:`qsr.jobs.records.plain`."""
    from qsr.jobs.records import plain

    sys.stdout.write(json.dumps(plain(record), indent=2, allow_nan=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers; headings may have lines.

    On a narrow terminal the text is folded; numbers are whole on any.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    widths = [
        max(cell_len(line) for cell in cells for line in cell.split("\n"))
        for cells in zip(columns, *rows, strict=True)
    ]
    gaps = 4 * len(widths) + 4
    width = sum(widths) + gaps  # a file has no edge
    terminal = Console()
    if terminal.is_terminal:
        width = max(terminal.width, min(widths[0], _LEAST_TEXT) + sum(widths[1:]) + gaps)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(columns[0], overflow="fold")
    for column, needed in zip(columns[1:], widths[1:], strict=True):
        table.add_column(column, justify="right", no_wrap=True, min_width=needed)
    for row in rows:
        table.add_row(*row)
    sys.stdout.write(f"{title}\n")
    # Names are shown as they are: [b] or :cat: in one is neither markup nor a picture.
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as drawn:  # written here: rich would take a broken pipe for itself
        console.print(table)
    sys.stdout.write(drawn.get())


def print_next(purpose: str, *words: object) -> None:
    """Say what can be done next: the purpose, and a command that can be pasted."""
    command = shlex.join(str(word) for word in words)
    sys.stdout.write(f"{purpose}:\n  {command}\n")


def print_skipped(skipped: Sequence[str]) -> None:
    """Name the images that were left out, on standard error."""
    for line in skipped:
        sys.stderr.write(f"left out: {line}\n")


def counted(count: int, what: str) -> str:
    """Return a number of things in words, such as ``1 image`` or ``2 images``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
