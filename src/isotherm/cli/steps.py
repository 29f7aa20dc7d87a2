"""Steps as they go by: a spinner for a person at a terminal, plain lines for all others, nothing with `--json`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from isotherm.cli.output import Output

__all__ = ["Plain", "Silent", "Steps", "steps_for"]


class Steps(Protocol):
    live: bool  # whether a person sees what goes on change in place

    def now(self, text: str) -> None:
        """What goes on."""

    def done(self, text: str) -> None:
        """What is over, or stays true. The same again is not said again: a stream taken up anew begins anew."""


class Silent:
    """Says nothing."""

    live = False

    def now(self, text: str) -> None:
        pass

    def done(self, text: str) -> None:
        pass


class Plain:
    """A line on standard error for what is over, and for what goes on with something to say."""

    live = False

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said: set[str] = set()

    def now(self, text: str) -> None:
        if len(text.split()) > 1:
            self.done(text)

    def done(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._output.note(text)


@contextmanager
def steps_for(output: Output) -> Iterator[Steps]:
    """What fits where the output goes."""
    if not output.live:
        yield Silent() if output.json else Plain(output)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    with console.status("packing") as status:

        class Live(Plain):
            live = True

            def now(self, text: str) -> None:
                status.update(text.strip().replace("[", "\\["))

            def done(self, text: str) -> None:
                if text not in self._said:
                    self._said.add(text)
                    console.print(text, style="dim", markup=False, soft_wrap=True)

        yield Live(output)
