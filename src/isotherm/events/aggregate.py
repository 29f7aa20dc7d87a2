"""Aggregates: consistency borders that decide by replaying their own history. Pure."""

from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

__all__ = ["Aggregate", "Fact", "Happened", "kind_of"]


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says, in the past tense; its tag ("key.revoked") is the event's kind.

    Kinds and fields are stored for ever: add fields with defaults. Any other change raises `class_version` and brings
    an upcaster (`isotherm.events.upcasting`); a kind is never reused.
    """

    class_version: ClassVar[int] = 1


class Happened(NamedTuple):
    """A fact as the log has it: with its time, and the id of the principal who decided it."""

    fact: Fact
    at_ms: int
    by: str


def kind_of(fact: Fact) -> str:
    """The event's kind: the tag of its type."""
    return str(fact.__struct_config__.tag)


S = TypeVar("S", bound=msgspec.Struct)


class Aggregate(Generic[S]):
    """One history. A subclass names its `facts`, its `State` and how a fact changes it; commands call `record`.

    `version` is that of the last event, kept or pending; the log refuses to keep an event whose version is taken.
    """

    facts: ClassVar[Any]  # the union of this aggregate's fact types
    state_type: ClassVar[Any]  # what `state` is made of, with no argument
    state_version: ClassVar[int] = 1  # raised where snapshots of former states are of no more use

    def __init__(self, aggregate_id: str, version: int = 0, state: S | None = None) -> None:
        self.id = aggregate_id
        self.version = version
        self.state: S = self.state_type() if state is None else state
        self.pending: list[Fact] = []

    def apply(self, fact: Any) -> None:
        """Change `state` as `fact` says. Never refuses: it has happened."""
        raise TypeError(f"{type(self).__name__} has no rule for {type(fact).__name__}")

    def record(self, fact: Fact) -> None:
        """A decision: it takes effect here at once, and in the log once the transaction commits."""
        self.apply(fact)
        self.version += 1
        self.pending.append(fact)
