"""What the policy thinks of each workload and of all: its controller opens the view, the API looks through it."""

from collections.abc import Callable

from isotherm.warming.view import WarmthSummary, WarmthView

__all__ = ["WarmthBoard"]


class WarmthBoard:
    """Views are made when they are asked for: there may be tens of thousands. Opened on one thread, read on any."""

    def __init__(self) -> None:
        self._view_of: Callable[[str, str], WarmthView | None] | None = None
        self._summary: WarmthSummary | None = None

    def open(self, view_of: Callable[[str, str], WarmthView | None]) -> None:
        """`view_of` a namespace and a name: what the policy thinks now; None where it does not know the workload."""
        self._view_of = view_of

    def get(self, namespace: str, name: str) -> WarmthView | None:
        return None if self._view_of is None else self._view_of(namespace, name)

    def sum_up(self, summary: WarmthSummary | None) -> None:
        """None: nobody plans any more."""
        self._summary = summary

    @property
    def summary(self) -> WarmthSummary | None:
        return self._summary
