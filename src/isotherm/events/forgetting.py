"""What the log says of denials that made room for newer ones: how far, and the hash that the next one follows. Pure."""

from typing import Any

import msgspec

from isotherm.events.aggregate import Aggregate, Fact
from isotherm.events.chain import GENESIS

__all__ = ["FORGOTTEN", "ForgottenHistory"]

FORGOTTEN = "access_forgotten"  # id of the one such history


class DenialsForgotten(Fact, frozen=True, tag="access.forgotten"):
    """Denials up to the version `through` are gone; `hash` (hex) was that of the last of them."""

    through: int
    hash: str


class ForgottenState(msgspec.Struct):
    through: int = 0
    hash: str = GENESIS.hex()


class ForgottenHistory(Aggregate[ForgottenState]):
    facts = DenialsForgotten
    state_type = ForgottenState

    def forget(self, through: int, last: bytes) -> None:
        self.record(DenialsForgotten(through=through, hash=last.hex()))

    def apply(self, fact: Any) -> None:
        self.state.through, self.state.hash = fact.through, fact.hash
