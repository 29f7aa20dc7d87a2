"""What was decided about each row, and the receipts of what changed."""

from dataclasses import dataclass
from typing import Final

import numpy
from numpy.typing import NDArray

from isotherm.warming.catalog import Entry
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.groups import GroupBook
from isotherm.warming.model import Doubles, Integers, Rung
from isotherm.warming.receipt import Alternative, Reason, Receipt, RungName

__all__ = ["RUNG_NAMES", "Decisions"]

RUNG_NAMES: Final[dict[int, RungName]] = {
    Rung.COLD: "cold",
    Rung.FROZEN: "frozen",
    Rung.TEMPLATE: "template",
    Rung.WARM: "warm",
}
HORIZON: Final = 30  # minutes for which a receipt says when it is to be warm again
MOST_AGAIN: Final = 200  # receipts of a minute for which that is reckoned
MINUTE_S: Final = 60.0


@dataclass(slots=True)
class Decisions:
    """Of rows [n]: where each was decided to wait last, with how many instances; and by which revision."""

    rung: Integers
    instances: Integers
    revision: dict[int, str]

    @classmethod
    def none(cls, n: int) -> "Decisions":
        return cls(numpy.zeros(n, numpy.int32), numpy.zeros(n, numpy.int32), {})

    def enlarge(self, n: int) -> None:
        fresh = Decisions.none(n - len(self.rung))
        self.rung = numpy.concatenate([self.rung, fresh.rung])
        self.instances = numpy.concatenate([self.instances, fresh.instances])

    def forget(self, row: int) -> None:
        self.rung[row] = self.instances[row] = 0
        self.revision.pop(row, None)

    def moved(self, rung: Integers, instances: Integers) -> NDArray[numpy.int64]:
        """Rows about which something else is decided now."""
        return numpy.flatnonzero((self.rung != rung) | (self.instances != instances))

    def news(self, entry: Entry, rung: Integers, instances: Integers) -> bool:
        """Whether there is anything to write down about it: another rung or number, or another revision at either."""
        row, main = entry.row, entry.main
        if self.rung[row] != rung[row] or self.instances[row] != instances[row]:
            return main is not None
        return main is not None and self.revision.get(row, main.id) != main.id

    def settle(self, entries: list[Entry], rung: Integers, instances: Integers) -> None:
        """From now on that is what is decided; `entries`: those for which it is news."""
        self.rung, self.instances = rung.copy(), instances.copy()
        for entry in entries:
            if entry.main is not None:
                self.revision[entry.row] = entry.main.id


@dataclass(frozen=True, slots=True)
class Minute:
    """What receipts of one minute have in common."""

    minute: int
    minute_ms: float
    at_ms: int
    instances: Integers
    calls: Doubles  # forecast [n]
    late: NDArray[numpy.bool_]  # was called at the very end of the last one [n]


def receipts(
    changed: list[Entry], decisions: Decisions, policy: Foresight, book: GroupBook, said: Minute
) -> list[Receipt]:
    """Of what changes with a minute. Call it before `Decisions.settle`."""
    news = [each for each in changed if decisions.news(each, policy.rung, said.instances)]
    again = _again(news, policy, said)
    held_back = policy.held_back
    return [
        _receipt(entry, decisions, policy, book, said, again.get(entry.row), bool(held_back[entry.row]))
        for entry in news
    ]


def _again(changed: list[Entry], policy: Foresight, said: Minute) -> dict[int, int]:
    """When those that are not warm are to be so again, ms."""
    colder = [each for each in changed if policy.rung[each.row] < Rung.WARM and policy.past.last[each.row] >= 0]
    found: dict[int, int] = {}
    if colder:
        rows = numpy.array([each.row for each in colder[:MOST_AGAIN]])
        for row, after in zip(rows, policy.again(rows, said.minute, HORIZON), strict=True):
            if after:
                found[int(row)] = round((said.minute + int(after)) * said.minute_ms)
    for entry in colder:
        due_ms = entry.next_due(said.at_ms) if entry.schedules else None
        if due_ms is not None:
            found[entry.row] = min(found.get(entry.row, due_ms), due_ms)
    return found


def _receipt(
    entry: Entry,
    decisions: Decisions,
    policy: Foresight,
    book: GroupBook,
    said: Minute,
    again_ms: int | None,
    held_back: bool,
) -> Receipt:
    row, main = entry.row, entry.main
    assert main is not None
    expected = float(policy.probability[row])
    group = int(policy.groups.of[row])
    return Receipt(
        namespace=entry.route.namespace,
        name=entry.route.name,
        revision_id=main.id,
        at_ms=said.at_ms,
        reason=_reason(entry, decisions, policy, said, held_back),
        expected=expected,
        calls=float(max(said.calls[row], expected)),
        rung=RUNG_NAMES[int(policy.rung[row])],
        instances=int(said.instances[row]),
        former_rung=RUNG_NAMES[int(decisions.rung[row])],
        former_instances=int(decisions.instances[row]),
        price=float(policy.prices.shadow[group]),
        budget=book.text(group),
        again_ms=again_ms,
        alternatives=[
            Alternative(
                rung=RUNG_NAMES[rung],
                instances=max(1, int(said.instances[row])) if rung == Rung.WARM else 0,
                idle_gb_s=(1 - expected) * float(policy.gb[row, rung]) * MINUTE_S,
                wait_s=float(policy.start_s[row, rung]),
            )
            for rung in (Rung.COLD, Rung.TEMPLATE, Rung.WARM)
            if numpy.isfinite(policy.gb[row, rung])
        ],
    )


def _reason(entry: Entry, decisions: Decisions, policy: Foresight, said: Minute, held_back: bool) -> Reason:
    row = entry.row
    if entry.main is not None and decisions.revision.get(row, entry.main.id) != entry.main.id:
        return "settings"
    if policy.due[row]:
        return "cron"
    if policy.rung[row] == decisions.rung[row]:
        return "peak"
    if said.late[row]:
        return "called"
    return "budget" if held_back else "forecast"
