"""Denied access, recorded in bounded space: whoever knocks a million times fills no disk.

The first denial of a kind (principal, permission, namespace) in a minute is written at once, later ones are counted
and written when the minute is over; beyond a number of kinds they are one count. Old denials make room for new ones.
"""

import threading
from typing import Any

import msgspec
import structlog

from isotherm.base.clock import Clock
from isotherm.base.errors import IsothermError
from isotherm.base.ids import is_name
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.events.service import EventLog

__all__ = ["MANY", "Denials"]

MANY = "many"  # as the principal of a denial: more kinds than are told apart
_log = structlog.get_logger(__name__)
_Kind = tuple[str, str, str | None]  # principal, permission, namespace


class AccessDenied(Fact, frozen=True, tag="access.denied"):
    permission: str
    count: int = 1


class AccessState(msgspec.Struct):
    pass


class AccessHistory(Aggregate[AccessState]):
    facts = AccessDenied
    state_type = AccessState

    def apply(self, fact: Any) -> None:
        """Nothing is decided by it."""


class Denials:
    """Thread-safe. `per_window` kinds are told apart in a window of `window_s`; the newest `kept` events stay."""

    def __init__(
        self, log: EventLog, clock: Clock, *, window_s: float = 60.0, per_window: int = 60, kept: int = 50_000
    ) -> None:
        self._log = log
        self._clock = clock
        self._window_s = window_s
        self._per_window = per_window
        self._kept = kept
        self._lock = threading.Lock()
        self._began_s = clock.monotonic_s()
        self._counts: dict[_Kind, int] = {}

    def note(self, principal_id: str, permission: str, namespace: str | None) -> None:
        """Never raises for what the database does: a denial stays one."""
        kind = (principal_id, permission, namespace if namespace is not None and is_name(namespace) else None)
        with self._lock:
            now = self._counts_of_last_window()
            kind = self._told_apart(kind)
            if kind in self._counts:
                self._counts[kind] += 1
            else:
                self._counts[kind] = 0
                now[kind] = now.get(kind, 0) + 1
        self._write(now)

    def count(self, principal_id: str, permission: str, namespace: str | None) -> None:
        """As `note`, but written with the next flush and never at once: how long it takes tells nothing."""
        with self._lock:
            kind = self._told_apart((principal_id, permission, namespace))
            self._counts[kind] = self._counts.get(kind, 0) + 1

    def flush(self) -> None:
        """Write what is only counted so far."""
        with self._lock:
            counts = {kind: count for kind, count in self._counts.items() if count}
            self._counts = dict.fromkeys(self._counts, 0)
        self._write(counts)

    def _told_apart(self, kind: _Kind) -> _Kind:
        full = len(self._counts) >= self._per_window and kind not in self._counts
        return (MANY, "various", None) if full else kind

    def _counts_of_last_window(self) -> dict[_Kind, int]:
        now_s = self._clock.monotonic_s()
        if now_s - self._began_s < self._window_s:
            return {}
        self._began_s = now_s
        last = {kind: count for kind, count in self._counts.items() if count}
        self._counts = {}
        return last

    def _write(self, counts: dict[_Kind, int]) -> None:
        if not counts:
            return
        try:
            with self._log.transaction() as session:
                for (principal_id, permission, namespace), count in counts.items():
                    history = self._log.load(session, AccessHistory, "access")
                    history.record(AccessDenied(permission=permission, count=count))
                    self._log.save(session, history, by=principal_id, namespace=namespace)
                self._log.forget_oldest(session, "access", self._kept)
        except IsothermError as exc:
            _log.warning("denied access could not be recorded", reason=exc.message, denials=sum(counts.values()))
