"""What each group may spend on warmth, what it has spent, and the price and the limit that follow for the next minute.

A group with an idle budget pays its price out of what comes in (`ShadowPrices`); one that is to have at most a share of
cold starts pays whatever that takes (`ColdPrices`); one with so much memory at once pays nothing, up to that."""

from dataclasses import dataclass

import numpy

from isotherm.warming.model import Doubles, Groups, Integers, Prices
from isotherm.warming.port import Allowance
from isotherm.warming.price import ColdPrices, ShadowPrices

__all__ = ["Accounts", "Steps"]

MARGIN = 0.997  # of what comes in is spent, so that what is overdrawn now and then does not add up
SLACK = 20.0  # minutes' worth that may be held beyond it for a moment, less towards the end
MOST_CREDIT = 1440.0  # minutes' worth that can be saved up


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps that could be taken in the coming minute [k]: whose group, the cold starts that each spares for a
    GB·minute, the GB·minutes that it is expected to lie idle, and the probability of a call."""

    group: Integers
    worth: Doubles
    idle: Doubles
    calls: Doubles


class Accounts:
    """Of all groups. Each minute: `learn`, `prices`, and once it is over `spend` and `saw`."""

    def __init__(self, groups: Groups, allowance: Allowance) -> None:
        self._groups = groups
        self._allowance = allowance
        self.shadow = ShadowPrices(groups.count)
        self.cold = ColdPrices(groups.count)
        self.credit = numpy.zeros(groups.count)

    def enlarge(self, groups: Groups) -> None:
        """More groups, or other budgets of those that there are; what is known of them stays."""
        more = groups.count - self._groups.count
        self._groups = groups
        self.shadow.enlarge(more)
        self.cold.enlarge(more)
        self.credit = numpy.concatenate([self.credit, numpy.zeros(more)])

    def learn(self, steps: Steps) -> None:
        self.shadow.learn(steps.group, steps.worth, steps.idle)
        by_share = ~numpy.isnan(self._groups.p_cold[steps.group])
        if by_share.any():
            self.cold.learn(steps.group[by_share], steps.worth[by_share], steps.calls[by_share])

    def prices(self, minute: int, usd_per_gb_s: float = 0.0) -> Prices:
        income = self._allowance.income(minute) * MARGIN
        headroom, remaining = self._allowance.headroom(minute), self._allowance.remaining(minute)
        self.credit += income
        rate = self.shadow.earn(income, headroom)
        self.credit = numpy.minimum(self.credit, MOST_CREDIT * numpy.maximum(rate, income))
        price = self.shadow.at(rate, self.credit)
        limit = numpy.maximum(0.0, self.credit + headroom + rate * min(SLACK, remaining / 10))
        by_share, by_held = ~numpy.isnan(self._groups.p_cold), numpy.isfinite(self._groups.held_gb)
        if by_share.any():
            price = numpy.where(by_share, self.cold.at(self._groups.p_cold), price)
        price = numpy.where(by_held, 0.0, price)
        limit = numpy.where(by_share, numpy.inf, numpy.where(by_held, self._groups.held_gb, limit))
        return Prices(usd_per_gb_s, price, limit)

    def spend(self, gb_minutes: Doubles) -> None:
        """What lay idle in the minute that is over [groups]."""
        self.credit -= gb_minutes

    def saw(self, active: Doubles, cold: Doubles) -> None:
        """Units with calls in it [groups], and those that began it cold and need not have."""
        self.cold.saw(active, cold)
