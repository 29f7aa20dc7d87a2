"""The event log: histories replay to the same state, conflicts are refused, a rollback leaves nothing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Conflict, Invalid, Unavailable
from isotherm.db.migrate import upgrade
from isotherm.db.tables import read_meta, write_meta
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.events.changes import note_change
from isotherm.events.service import EventLog
from tests.databases import Databases


class Added(Fact, frozen=True, tag="counter.added"):
    amount: int


class Reset(Fact, frozen=True, tag="counter.reset"):
    pass


class Count(msgspec.Struct):
    value: int = 0


class Counter(Aggregate[Count]):
    facts = Added | Reset
    state_type = Count

    def apply(self, fact: Any) -> None:
        self.state.value = self.state.value + fact.amount if isinstance(fact, Added) else 0


def make_log(databases: Databases, folder: Path, snapshot_every: int = 50) -> EventLog:
    database = databases.open(folder / "control.db")
    upgrade(database, "control")
    return EventLog(database, ManualClock(), snapshot_every=snapshot_every)


@pytest.fixture
def log(tmp_path: Path, databases: Databases) -> EventLog:
    return make_log(databases, tmp_path)


def add(log: EventLog, *amounts: int, counter: str = "cnt_1") -> None:
    with log.transaction() as session:
        found = log.load(session, Counter, counter)
        for amount in amounts:
            found.record(Added(amount=amount))
        log.save(session, found, by="pr_1", namespace="default")


def value(log: EventLog, counter: str = "cnt_1") -> tuple[int, int]:
    with log.transaction() as session:
        found = log.load(session, Counter, counter)
    return found.version, found.state.value


def test_a_history_replays_to_its_state(log: EventLog) -> None:
    assert value(log) == (0, 0)
    add(log, 1, 2)
    add(log, 3)
    assert value(log) == (3, 6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    every=st.integers(1, 7),
    commands=st.lists(st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=5), max_size=12),
)
def test_snapshots_change_nothing(
    every: int, commands: list[list[int | None]], databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = make_log(databases, tmp_path_factory.mktemp("log"), snapshot_every=every)
    expected = Counter("cnt_1")
    for command in commands:
        with log.transaction() as session:
            found = log.load(session, Counter, "cnt_1")
            for amount in command:
                fact = Reset() if amount is None else Added(amount=amount)
                found.record(fact)
                expected.record(fact)
            log.save(session, found, by="pr_1", namespace=None)
    assert value(log) == (expected.version, expected.state.value)
    with log.database.read() as session:
        table = log._snapshots.table
        kept = session.execute(sqlalchemy.select(table.c.originator_version)).scalars().all()
    assert len(kept) <= 1
    assert expected.version - max(kept, default=0) < every + 5, "few events are read after the snapshot"
    log.database.close()


def test_a_block_that_raises_drops_events_and_projections_alike(log: EventLog) -> None:
    add(log, 1)

    def fail() -> None:
        with log.transaction() as session:
            found = log.load(session, Counter, "cnt_1")
            found.record(Added(amount=100))
            log.save(session, found, by="pr_1", namespace=None)
            write_meta(session, "projection", "written")
            note_change(session, "route", "wl_1")
            raise ZeroDivisionError

    told: list[int] = []
    log.on_desired_change(lambda: told.append(1))
    with pytest.raises(ZeroDivisionError):
        fail()
    assert value(log) == (1, 1)
    assert len(log.entries().items) == 1
    with log.database.read() as session:
        assert read_meta(session, "projection") is None
    assert told == [], "nobody is told of what did not happen"


def test_a_taken_version_is_a_conflict_and_leaves_nothing(log: EventLog) -> None:
    add(log, 1)
    with log.transaction() as session:
        late = log.load(session, Counter, "cnt_1")
    add(log, 2)
    late.record(Added(amount=4))

    def save_late() -> None:
        with log.transaction() as session:
            write_meta(session, "projection", "written")
            log.save(session, late, by="pr_2", namespace=None)

    with pytest.raises(Conflict, match="same moment"):
        save_late()
    assert value(log) == (2, 3)
    with log.database.read() as session:
        assert read_meta(session, "projection") is None


def test_what_the_database_refuses_is_unavailable(log: EventLog) -> None:
    with pytest.raises(Unavailable, match=r"no such table|does not exist") as caught, log.transaction() as session:
        session.execute(sqlalchemy.text("INSERT INTO missing VALUES (:value)"), {"value": "s3cr3t"})
    assert "INSERT" not in caught.value.message, "the statement is for the log alone"
    assert "s3cr3t" not in str(caught.value.__cause__)


def test_an_entry_says_who_what_when_and_where(log: EventLog) -> None:
    add(log, 7)
    (entry,) = log.entries().items
    assert (entry.kind, entry.principal_id, entry.namespace) == ("counter.added", "pr_1", "default")
    assert (entry.subject, entry.version, entry.data) == ("cnt_1", 1, {"amount": 7})
    assert entry.at_ms == ManualClock().time_ms()


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_give_every_entry_once_in_order(log: EventLog, newest_first: bool) -> None:
    add(log, *range(23))
    seen: list[int] = []
    cursor = None
    while True:
        page = log.entries(limit=5, cursor=cursor, newest_first=newest_first)
        seen += [entry.data["amount"] for entry in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == (list(range(22, -1, -1)) if newest_first else list(range(23)))


def test_entries_of_one_namespace(log: EventLog) -> None:
    add(log, 1)
    with log.transaction() as session:
        other = log.load(session, Counter, "cnt_2")
        other.record(Reset())
        log.save(session, other, by="pr_1", namespace="other")
    assert [entry.subject for entry in log.entries(namespace="other").items] == ["cnt_2"]
    assert [entry.subject for entry in log.entries(namespace="default").items] == ["cnt_1"]
    with pytest.raises(Invalid, match="cursor"):
        log.entries(cursor="nonsense")


def test_those_who_listen_are_told_after_the_commit_until_they_take_themselves_off(log: EventLog) -> None:
    seen: list[int] = []

    def listen() -> None:
        with log.database.read() as session:
            count = session.execute(sqlalchemy.text("SELECT count(*) FROM desired_changes")).scalar_one()
        seen.append(int(count))

    def fail() -> None:
        raise ZeroDivisionError

    log.on_desired_change(fail)
    take_off = log.on_desired_change(listen)
    with log.transaction() as session:
        note_change(session, "key", "key_1")
        assert seen == []
    assert seen == [1]
    add(log, 1)
    assert seen == [1], "nothing was noted"
    take_off()
    with log.transaction() as session:
        note_change(session, "key", "key_2")
    assert seen == [1]


def test_forgetting_keeps_the_newest_of_one_history_and_says_so(log: EventLog) -> None:
    add(log, *range(10))
    add(log, 99, counter="cnt_2")
    with log.transaction() as session:
        log.forget_oldest(session, "cnt_1", 3)
    entries = log.entries(newest_first=False).items
    assert [entry.data["amount"] for entry in entries if entry.kind == "counter.added"] == [7, 8, 9, 99]
    assert (entries[-1].kind, entries[-1].data["through"]) == ("access.forgotten", 7)
