"""What hosts were told of revisions, and what is new for them."""

import math
from collections.abc import Mapping
from typing import Final

import numpy

from isotherm.warming.catalog import Catalog, Entry
from isotherm.warming.drivers.foresight import Foresight
from isotherm.warming.model import Integers, Rung
from isotherm.wire.warmth import Target, Warmth

__all__ = ["Telling"]

SMALL_SHARE: Final = 0.1  # of the calls, up to which a revision gets an instance only where it is called
CALLED: Final = 0.5  # times a minute
Wanted = tuple[int, bool]  # instances, and whether the template is kept


class Telling:
    """Of rows [n]. `called`: rows that were called since hosts were told to let go; `moved`: rows whose calls go to
    other revisions since; `stale`: revisions may have been told of that the policy decides about no more."""

    def __init__(self, n: int, valid_s: float) -> None:
        self.called: set[int] = set()
        self.moved: set[int] = set()
        self.stale = False
        self._valid_s = valid_s
        self._told: dict[str, Wanted] = {}
        self._rung, self._instances = numpy.zeros(n, numpy.int32), numpy.zeros(n, numpy.int32)

    def enlarge(self, n: int) -> None:
        fresh = numpy.zeros(n - len(self._rung), numpy.int32)
        self._rung, self._instances = (numpy.concatenate([each, fresh]) for each in (self._rung, self._instances))

    def forget(self, row: int) -> None:
        self._rung[row] = self._instances[row] = 0

    def whole(self) -> Warmth:
        """All that hosts are to go by now: for one that has just come."""
        return self._warmth(self._told, [], full=True)

    def more(self, policy: Foresight, instances: Integers, by_row: Mapping[int, Entry]) -> Warmth:
        """What is to be made ready before a minute begins; what is to be let go waits for `settle`."""
        wanted = self._wanted(policy, instances, by_row, set())
        larger = {each: self._larger(each, target) for each, target in wanted.items()}
        fresh = {each: target for each, target in larger.items() if target != self._told.get(each, (0, False))}
        self._told |= fresh
        return self._warmth(fresh, [])

    def settle(self, policy: Foresight, instances: Integers, by_row: Mapping[int, Entry], catalog: Catalog) -> Warmth:
        """What is new once a minute has begun. What was called meanwhile is told of again, so that hosts let it go
        where it is not to wait."""
        wanted = self._wanted(policy, instances, by_row, self.called)
        released = self._released(catalog)
        self._told |= wanted
        self._rung, self._instances = policy.rung.copy(), instances
        self.called.clear()
        self.moved.clear()
        return self._warmth(wanted, released)

    def _wanted(
        self, policy: Foresight, instances: Integers, by_row: Mapping[int, Entry], called: set[int]
    ) -> dict[str, Wanted]:
        """Of rows about which something is new."""
        other = numpy.flatnonzero((self._rung != policy.rung) | (self._instances != instances))
        found: dict[str, Wanted] = {}
        for row in {int(row) for row in other} | self.moved | called:
            entry = by_row.get(row)
            if entry is not None and entry.steered:
                found |= _parts(entry, policy, int(instances[row]))
        return found

    def _larger(self, revision_id: str, target: Wanted) -> Wanted:
        instances, template = self._told.get(revision_id, (0, False))
        return max(instances, target[0]), template or target[1]

    def _released(self, catalog: Catalog) -> list[str]:
        if not self.stale:
            return []
        steered = {each for entry in catalog if entry.steered for each in entry.revisions}
        gone = [each for each in self._told if each not in steered]
        for each in gone:
            del self._told[each]
        self.stale = False
        return gone

    def _warmth(self, targets: Mapping[str, Wanted], released: list[str], *, full: bool = False) -> Warmth:
        named = [Target(revision_id=each, instances=n, template=kept) for each, (n, kept) in targets.items()]
        return Warmth(valid_s=self._valid_s, full=full, targets=named, released=released)


def _parts(entry: Entry, policy: Foresight, instances: int) -> dict[str, Wanted]:
    """The part of each revision that an alias points to."""
    rung = int(policy.rung[entry.row])
    found = {}
    for revision in entry.revisions.values():
        share = entry.shares[revision.id]
        part = instances / revision.concurrency * share
        often = share > SMALL_SHARE or share * policy.past.calls[entry.row] >= CALLED
        own = math.ceil(part) if often else round(part)
        found[revision.id] = (min(own, revision.warm.max_instances), rung >= Rung.TEMPLATE and share > 0)
    return found
