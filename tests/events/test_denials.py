"""Denied access is on record, in bounded space."""

from pathlib import Path

import pytest
from sqlalchemy import text

from isotherm.base.clock import ManualClock
from isotherm.db.migrate import upgrade
from isotherm.events.denials import MANY, Denials
from isotherm.events.model import Entry
from isotherm.events.service import EventLog
from tests.databases import Databases


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock, databases: Databases) -> EventLog:
    database = databases.open(tmp_path / "control.db")
    upgrade(database, "control")
    return EventLog(database, clock)


def recorded(log: EventLog) -> list[Entry]:
    return log.entries(limit=1000, newest_first=False).items


def test_the_first_denial_is_written_at_once(log: EventLog, clock: ManualClock) -> None:
    Denials(log, clock).note("pr_1", "functions.deploy", "default")
    (entry,) = recorded(log)
    assert (entry.kind, entry.principal_id, entry.namespace) == ("access.denied", "pr_1", "default")
    assert entry.data == {"permission": "functions.deploy", "count": 1}


def test_a_million_knocks_are_a_few_events_and_none_is_lost(log: EventLog, clock: ManualClock) -> None:
    denials = Denials(log, clock)
    for _ in range(10_000):
        denials.note("anonymous", "authenticate", None)
    assert len(recorded(log)) == 1
    clock.advance(61)
    denials.note("anonymous", "authenticate", None)
    assert [entry.data["count"] for entry in recorded(log)] == [1, 10_000]
    denials.flush()
    assert sum(entry.data["count"] for entry in recorded(log)) == 10_001


def test_many_kinds_share_one_count(log: EventLog, clock: ManualClock) -> None:
    denials = Denials(log, clock, per_window=5)
    for number in range(100):
        denials.note(f"pr_{number}", "functions.read", "default")
    assert len(recorded(log)) == 6
    denials.flush()
    entries = recorded(log)
    assert sum(entry.data["count"] for entry in entries) == 100
    assert [entry.principal_id for entry in entries].count(MANY) == 2
    assert len(entries) == 7


def test_old_denials_make_room(log: EventLog, clock: ManualClock) -> None:
    denials = Denials(log, clock, kept=10)
    for minute in range(30):
        denials.note("pr_1", "functions.read", f"ns-{minute}")
        clock.advance(61)
    denied = [entry.namespace for entry in recorded(log) if entry.kind == "access.denied"]
    assert denied == [f"ns-{minute}" for minute in range(20, 30)]


def test_a_namespace_that_could_not_exist_is_not_recorded(log: EventLog, clock: ManualClock) -> None:
    Denials(log, clock).note("pr_1", "functions.read", "x" * 10_000)
    assert recorded(log)[0].namespace is None


def test_a_database_that_fails_does_not_hide_the_denial(log: EventLog, clock: ManualClock) -> None:
    with log.database.write() as session:
        session.execute(text("DROP TABLE events"))
    Denials(log, clock).note("pr_1", "functions.read", None)
