"""What the commands print: JSON where `--json` asks for it, else tables and lines; errors the same everywhere."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from isotherm.base.errors import IsothermError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "output"]


class Output:
    """Standard output and standard error of one command. `json` is set by the flag before the command runs."""

    def __init__(self) -> None:
        self.json = False

    @property
    def console(self) -> "Console":
        """rich's console on standard output; made anew, because tests replace the stream."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether a person watches standard error."""
        return not self.json and sys.stderr.isatty()

    def result(self, value: Any) -> None:
        """One JSON document on standard output."""
        sys.stdout.write(json.dumps(value, indent=2 if sys.stdout.isatty() else None) + "\n")

    def line(self, text: str = "") -> None:
        """One line for people, as it is; left out with `--json`."""
        if not self.json:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """One line on standard error, as it is."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
        """A table for people; columns that start with `>` are right-aligned. `empty` where there are no rows."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
        count = 0
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
            count += 1
        if not count:
            self.line(empty)
            return
        console = self.console
        console.width = 1000  # cut nothing: a terminal wraps what is too long
        console.print(table, soft_wrap=False)

    def error(self, error: IsothermError) -> None:
        """What went wrong: with `--json` the problem object on standard output, else on standard error."""
        if self.json:
            self.result(error.problem())
            return
        request = f" (request {error.request_id})" if error.request_id else ""
        self.note(f"error: {error.message}{request}")
        for line in _details(error):
            self.note(line)


output = Output()


def _details(error: IsothermError) -> Iterable[str]:
    """The user's traceback, or the end of the installer's output, where the error carries one."""
    trace = error.data.get("stack_trace")
    if isinstance(trace, list) and trace:
        yield ""
        for entry in trace:
            yield from ("  " + line for line in str(entry).rstrip("\n").split("\n"))
    kind, message = error.data.get("error_type"), error.data.get("error_message")
    if kind and f"{kind}: {message}" not in error.message:
        yield f"  {kind}: {message}"
    log = error.data.get("log")
    if isinstance(log, str) and log:
        yield ""
        yield from ("  " + line for line in log.rstrip("\n").split("\n")[-40:])
