"""Whose budget pays for which workload: its own, that of its namespace, or the platform's."""

from collections.abc import Iterable

import numpy

from isotherm.warming.budgets import Budget
from isotherm.warming.catalog import Entry
from isotherm.warming.model import Doubles, Groups

__all__ = ["GroupBook"]

PLATFORM = "platform"
AS_KEEP_ALIVES = "idle <= what keep-alives would spend"


class GroupBook:
    """Groups have numbers, which stay theirs: what is known of what a group has spent goes by them. The first is the
    platform's."""

    def __init__(self, platform: Budget | None) -> None:
        self._platform = platform
        self._numbers: dict[str, int] = {}
        self._budgets: list[Budget | None] = []
        self._number(PLATFORM, platform)

    @property
    def names(self) -> list[str]:
        """`platform`, `namespace NAME`, `workload NAMESPACE/NAME`, by number."""
        return list(self._numbers)

    def assign(self, entries: Iterable[Entry], namespaces: dict[str, Budget], n: int) -> tuple[Groups, Doubles]:
        """The groups of rows [n], and what each may spend: GB·minutes a minute, NaN: as its keep-alives would."""
        of = numpy.zeros(n, numpy.int32)
        for entry in entries:
            of[entry.row] = self._of(entry, namespaces)
        count = len(self._budgets)
        p_cold, held_gb, fixed = (
            numpy.full(count, numpy.nan),
            numpy.full(count, numpy.inf),
            numpy.full(count, numpy.nan),
        )
        for number, budget in enumerate(self._budgets):
            if budget is not None and budget.kind == "p_cold":
                p_cold[number] = budget.amount
            elif budget is not None and budget.kind == "host":
                held_gb[number] = budget.amount
            elif budget is not None:
                fixed[number] = budget.gb_minutes_a_minute
        return Groups(of, p_cold, held_gb), fixed

    def text(self, number: int) -> str:
        """Of a group: "workload default/f: p_cold <= 1 %"."""
        budget = self._budgets[number]
        return f"{self.names[number]}: {AS_KEEP_ALIVES if budget is None else said(budget)}"

    def _of(self, entry: Entry, namespaces: dict[str, Budget]) -> int:
        namespace, name = entry.key
        own = entry.budget()
        if own is not None:
            return self._number(f"workload {namespace}/{name}", own)
        if namespace in namespaces:
            return self._number(f"namespace {namespace}", namespaces[namespace])
        per = "host" if self._platform is None else self._platform.per
        if per == "namespace":
            return self._number(f"namespace {namespace}", self._platform)
        if per == "workload":
            return self._number(f"workload {namespace}/{name}", self._platform)
        return 0

    def _number(self, name: str, budget: Budget | None) -> int:
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._budgets):
            self._budgets.append(budget)
        self._budgets[number] = budget
        return number


def said(budget: Budget) -> str:
    """As it is written."""
    if budget.kind == "p_cold":
        return f"p_cold <= {100 * budget.amount:g}%"
    return f"idle <= {budget.amount:g} GBh/day" if budget.kind == "idle" else f"host <= {budget.amount:g} GB"
