"""What every policy can do, minute by minute: it is asked what to hold before it is told what came."""

from typing import Protocol

from isotherm.warming.model import Doubles, Integers

__all__ = ["Allowance", "Policy"]


class Policy(Protocol):
    """Decides for all units at once. Minutes come in order, none left out: `hold`, then `observe`."""

    name: str

    @property
    def keep_alive_s(self) -> float | None:
        """Where the policy is no more than a time for which an idle instance is kept: that time, to the second."""

    def hold(self, minute: int) -> Integers:
        """The instances of each unit [n] to be ready in a minute; 0, `KEEP` and `LET_GO` as in the model."""

    def observe(self, minute: int, counts: Integers) -> None:
        """The calls of each function [f] in a minute that is over."""


class Allowance(Protocol):
    """What may be spent on idle memory, by what is known when a minute begins."""

    def income(self, minute: int) -> Doubles:
        """[groups], what came in with the minute before this one, in the units of `Demand.gb` and minutes."""

    def headroom(self, minute: int) -> Doubles:
        """[groups], what may be held in this minute beyond what is left over."""

    def remaining(self, minute: int) -> int:
        """Minutes from this one to the end of the period for which the budget is; 0: what it is, is not known."""

    def observe(self, minute: int, counts: Integers) -> None:
        """The calls of each function [f] in a minute that is over."""
