"""What the groups of a running platform may spend: what their budget says, or what their keep-alives would have."""

import numpy
from numpy.typing import NDArray

from isotherm.warming.model import Doubles, Groups, Integers

__all__ = ["LikeKeepAlives"]

NEVER = -(10**9)
NO_END = 10**6  # minutes


class LikeKeepAlives:
    """An allowance (`warming.port`) of units [n] in groups. `fixed` [groups]: GB·minutes a minute; NaN: as much as the
    keep-alives of its units would have spent, each on instances for `keep` minutes after a call and on its template for
    `template_keep`."""

    def __init__(self, n: int, groups: Groups, fixed: Doubles) -> None:
        self._last = numpy.full(n, NEVER)
        self._spent = numpy.zeros(groups.count)
        self.set(groups, fixed, numpy.zeros(n), numpy.zeros(n), numpy.zeros(n), numpy.zeros(n))

    def set(
        self,
        groups: Groups,
        fixed: Doubles,
        keep: Doubles,
        template_keep: Doubles,
        warm_gb: Doubles,
        template_gb: Doubles,
    ) -> None:
        """Units and groups as they are now; more of both, perhaps. Units that are not steered hold 0 GB."""
        more = len(keep) - len(self._last)
        self._last = numpy.concatenate([self._last, numpy.full(more, NEVER)])
        self._spent = numpy.concatenate([self._spent, numpy.zeros(groups.count - len(self._spent))])
        self._groups, self._fixed = groups, fixed
        self._keep, self._template_keep = keep, template_keep
        self._warm_gb, self._template_gb = warm_gb, template_gb

    def forget(self, unit: int) -> None:
        self._last[unit] = NEVER

    def income(self, minute: int) -> Doubles:
        return numpy.where(numpy.isnan(self._fixed), self._spent, self._fixed)

    def headroom(self, minute: int) -> Doubles:
        held = numpy.bincount(self._groups.of, self._held(minute), self._groups.count)
        return numpy.where(numpy.isnan(self._fixed), held, self._fixed)

    def remaining(self, minute: int) -> int:
        return NO_END

    def observe(self, minute: int, counts: Integers) -> None:
        idle = numpy.where(counts > 0, 0.0, self._held(minute))
        self._spent = numpy.bincount(self._groups.of, idle, self._groups.count).astype(float)
        self._last[counts > 0] = minute

    def warm(self, minute: int) -> NDArray[numpy.bool_]:
        """Whether keep-alives alone would have an instance of each unit in a minute that was not observed yet [n]."""
        found: NDArray[numpy.bool_] = minute - self._last <= self._keep
        return found

    def _held(self, minute: int) -> Doubles:
        """By keep-alives alone, in a minute [n]."""
        idle = minute - self._last
        held: Doubles = numpy.where(
            idle <= self._keep, self._warm_gb, numpy.where(idle <= self._template_keep, self._template_gb, 0.0)
        )
        return held
