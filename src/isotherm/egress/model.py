"""Nouns of egress: limits, where a connection is meant to go, and what is told of it."""

from dataclasses import dataclass, field

from isotherm.wire.egress import Address, Network

__all__ = ["EgressLimits", "Tally", "Target"]

MAX_TEXTS = 8  # different refusals told at a time; more are counted
MAX_TEXT = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLimits:
    """Of one revision, but `never` and `own_ports`, which hold for all."""

    connections: int  # open at once
    idle_s: float  # a connection on which nothing moves is closed after it
    connect_s: float = 10.0  # for all addresses of a host together
    sniff_s: float = 10.0  # for what a client says first to be complete
    queries_per_s: float = 100.0
    query_burst: int = 200
    queries: int = 64  # answered at the same time
    never: tuple[Network, ...] = ()
    own_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a sandbox connects to: a host by its name, or an address."""

    host: str | Address
    port: int

    def __str__(self) -> str:
        text = str(self.host)
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


@dataclass(slots=True)
class Tally:
    """What happened since it was last told."""

    opened: int = 0
    refused: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    texts: dict[str, int] = field(default_factory=dict)
    others: int = 0  # refusals whose text did not fit

    def __bool__(self) -> bool:
        return bool(self.opened or self.refused or self.sent_bytes or self.received_bytes or self.texts)

    def say(self, text: str) -> None:
        """Keep a line for the function's log; the same one again is counted."""
        text = text[:MAX_TEXT]
        if text in self.texts or len(self.texts) < MAX_TEXTS:
            self.texts[text] = self.texts.get(text, 0) + 1
        else:
            self.others += 1

    def refuse(self, text: str) -> None:
        self.refused += 1
        self.say(text)

    def lines(self) -> list[str]:
        found = [text if count == 1 else f"{text} ({count} times)" for text, count in self.texts.items()]
        return [*found, f"egress was refused {self.others} more times"] if self.others else found
