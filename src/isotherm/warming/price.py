"""The price of idle memory, found while it is spent: as high as it has to be for the budget to last, and no higher.

What would be spent at each price is known from the last hours: of each step that could have been taken, how much it
spares for each GB, and how many GB·minutes it was expected to lie idle. The price is the lowest at which that is no
more than what may be spent a minute, which is what comes in, and a part of what is left over or overdrawn."""

import numpy

from isotherm.warming.model import Doubles, Integers

__all__ = ["ColdPrices", "ShadowPrices"]

MAKE_UP = 4.0  # what is aimed at is so many times as far on the other side as what was seen
BINS = 512
LOWEST, PER_OCTAVE = -24.0, 10.0  # log2 of the price of the first bin; bins to a doubling
KEPT = 0.5 ** (1 / 60)  # of what a minute says, after another: half of it after an hour
PRESUMED = 3.0  # minutes that what is presumed of the income weighs
CATCH_UP = 30.0  # minutes over which what is left over is spent
REMEMBERED = 0.5 ** (1 / 720)  # of a cold start, after another minute: half of it after twelve hours


class ShadowPrices:
    """One price for each of `groups`. Deterministic: the same minutes give the same prices."""

    def __init__(self, groups: int) -> None:
        self.spends = numpy.zeros((groups, BINS))
        self.weight = 0.0
        self.income = numpy.zeros(groups)
        self.minutes = 0.0

    def enlarge(self, more: int) -> None:
        self.spends = numpy.concatenate([self.spends, numpy.zeros((more, BINS))])
        self.income = numpy.concatenate([self.income, numpy.zeros(more)])

    def learn(self, group: Integers, worth: Doubles, idle: Doubles) -> None:
        """Take in the steps of the coming minute: whose each is [k], the cold starts it spares for each GB·minute [k],
        and the GB·minutes that it would lie idle [k]."""
        self.spends *= KEPT
        self.weight = self.weight * KEPT + 1
        self.spends += _histogram(group, worth, idle, len(self.spends))

    def earn(self, income: Doubles, presumed: Doubles) -> Doubles:
        """Take in the GB·minutes that came in with the last minute [groups]: what comes in a minute, of late.
        `presumed`: what that is taken to be while little is known."""
        self.income = self.income * KEPT + income
        self.minutes = self.minutes * KEPT + 1
        rate: Doubles = (self.income + PRESUMED * presumed) / (self.minutes + PRESUMED)
        return rate

    def at(self, rate: Doubles, credit: Doubles) -> Doubles:
        """The prices [groups] for the coming minute. `rate`: GB·minutes that come in a minute. `credit`: what is left
        of all that came in or can be borrowed; negative where more was spent."""
        target = rate + credit / CATCH_UP
        spent = self.spends[:, ::-1].cumsum(axis=1)[:, ::-1] / max(self.weight, 1.0)  # by the price, from each bin up
        fits = spent <= numpy.maximum(target, 0.0)[:, None]
        lowest = numpy.where(fits.any(axis=1), fits.argmax(axis=1), BINS)
        prices: Doubles = numpy.where(lowest == 0, 0.0, 2.0 ** (LOWEST + lowest / PER_OCTAVE))
        return prices


class ColdPrices:
    """The price at which a share of the minutes with calls begins cold, for each of `groups`: as high as that lets it
    be. What was held back too often, or too seldom, in the last hours is made up for."""

    def __init__(self, groups: int) -> None:
        self.calls = numpy.zeros((groups, BINS))
        self.active = numpy.zeros(groups)
        self.seen_cold = numpy.zeros(groups)

    def enlarge(self, more: int) -> None:
        self.calls = numpy.concatenate([self.calls, numpy.zeros((more, BINS))])
        self.active = numpy.concatenate([self.active, numpy.zeros(more)])
        self.seen_cold = numpy.concatenate([self.seen_cold, numpy.zeros(more)])

    def learn(self, group: Integers, worth: Doubles, calls: Doubles) -> None:
        """Take in the coming minute of each unit: its group [k], the cold starts that holding it spares for each
        GB·minute [k], and how probable a call is [k]."""
        self.calls *= KEPT
        self.calls += _histogram(group, worth, calls, len(self.calls))

    def saw(self, active: Doubles, cold: Doubles) -> None:
        """Units with calls in the last minute [groups], and those of them that began it cold and need not have."""
        self.active = self.active * REMEMBERED + active
        self.seen_cold = self.seen_cold * REMEMBERED + cold

    def at(self, share: Doubles) -> Doubles:
        """The prices [groups] at which `share` [groups] of the minutes with calls begins cold."""
        seen = self.seen_cold / numpy.maximum(self.active, 1.0)
        aim = numpy.clip(numpy.nan_to_num(share + MAKE_UP * (share - seen)), 0.0, 1.0)
        below = numpy.concatenate([numpy.zeros((len(aim), 1)), self.calls.cumsum(axis=1)], axis=1)
        allowed = below <= aim[:, None] * below[:, -1:] + 1e-12
        highest = BINS - allowed[:, ::-1].argmax(axis=1)
        prices: Doubles = numpy.where(highest == 0, 0.0, 2.0 ** (LOWEST + highest / PER_OCTAVE))
        return prices


def _histogram(group: Integers, worth: Doubles, weight: Doubles, groups: int) -> Doubles:
    """[groups, BINS], of what is worth anything."""
    possible = (worth > 0) & numpy.isfinite(worth)
    at = (numpy.log2(worth[possible]) - LOWEST) * PER_OCTAVE
    places = group[possible] * BINS + numpy.clip(at, 0, BINS - 1).astype(int)
    return numpy.bincount(places, weight[possible], groups * BINS).reshape(groups, BINS).astype(float)
