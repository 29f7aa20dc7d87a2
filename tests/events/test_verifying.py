"""The hash chain: it holds for what was appended, and names the first event that was tampered with, however."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from isotherm.base.errors import Invalid
from isotherm.events.chain import GENESIS, Sealed, link
from isotherm.events.denials import Denials
from isotherm.events.service import EventLog
from tests.databases import Databases
from tests.events.test_log import Added, Counter, add, make_log


@pytest.fixture
def log(tmp_path: Path, databases: Databases) -> EventLog:
    """Eight events of two histories and two denials."""
    log = make_log(databases, tmp_path)
    for number in range(4):
        add(log, number, counter="cnt_1")
        add(log, number, counter="cnt_2")
    denials = Denials(log, log._clock)
    denials.note("pr_1", "functions.read", None)
    denials.note("pr_2", "functions.read", "default")
    return log


def execute(log: EventLog, *statements: str) -> None:
    """As somebody with the rights of the database would."""
    with log.database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def ids(log: EventLog) -> list[int]:
    return [entry.id for entry in log.entries(limit=100, newest_first=False).items]


def test_what_was_appended_holds(log: EventLog) -> None:
    verdict = log.verify()
    assert (verdict.ok, verdict.events, verdict.broken, verdict.expected) == (True, 10, None, None)
    assert verdict.head == log.head()
    add(log, 9)
    assert log.head() != verdict.head
    assert log.verify(verdict.head.hash).expected == "found"
    assert log.verify(GENESIS.hex()).expected == "found", "the head of a log that was empty"


def test_an_empty_log_holds(databases: Databases, tmp_path: Path) -> None:
    log = make_log(databases, tmp_path)
    assert (log.verify().ok, log.verify().events, log.head().hash) == (True, 0, "00" * 32)


@pytest.mark.parametrize(
    "change",
    [
        "state = {empty}",
        "at_ms = at_ms + 1",
        "principal_id = 'pr_other'",
        "namespace = NULL",
        "namespace = 'other'",
        "topic = 'counter.reset'",
        "originator_id = 'cnt_3'",
        "originator_version = 99",
        "chain = 'denials'",
    ],
)
def test_a_changed_event_is_named(log: EventLog, change: str) -> None:
    third = ids(log)[2]
    change = change.replace("{empty}", "X'7b7d'" if log.database.is_sqlite else r"'\x7b7d'")
    execute(log, f"UPDATE events SET {change} WHERE id = {third}")
    verdict = log.verify()
    assert not verdict.ok
    assert verdict.broken is not None
    following = ids(log)[3]
    assert verdict.broken.event_id == (following if change.startswith("chain") else third)


def test_a_hash_that_was_made_anew_breaks_at_the_next_event(log: EventLog) -> None:
    with log.database.write() as session:
        table = log._events.table
        rows = session.execute(sqlalchemy.select(table).order_by(table.c.id)).all()
        forged = Sealed(*(getattr(rows[2], name) for name in Sealed.__struct_fields__[:-1]), "elsewhere")
        values = {"namespace": "elsewhere", "hash": link(bytes(rows[1].hash), forged)}
        session.execute(sqlalchemy.update(table).where(table.c.id == rows[2].id).values(values))
    broken = log.verify().broken
    assert broken is not None
    assert broken.event_id == rows[3].id


@pytest.mark.parametrize("position", [0, 3])
def test_a_removed_event_is_noticed_at_the_next_one(log: EventLog, position: int) -> None:
    before = ids(log)
    execute(log, f"DELETE FROM events WHERE id = {before[position]}")
    broken = log.verify().broken
    assert broken is not None
    assert broken.event_id == before[position + 1]


def test_swapped_events_are_noticed(log: EventLog) -> None:
    second, third = ids(log)[1:3]
    execute(
        log,
        f"UPDATE events SET id = -1 WHERE id = {second}",
        f"UPDATE events SET id = {second} WHERE id = {third}",
        f"UPDATE events SET id = {third} WHERE id = -1",
    )
    broken = log.verify().broken
    assert broken is not None
    assert broken.event_id == second


def test_an_inserted_event_is_noticed(log: EventLog) -> None:
    first = ids(log)[0]
    columns = "topic, state, at_ms, principal_id, namespace, chain, hash"
    execute(
        log,
        f"INSERT INTO events (id, originator_id, originator_version, {columns}) "
        f"SELECT {first - 1}, 'cnt_9', 1, {columns} FROM events WHERE id = {first}",
    )
    broken = log.verify().broken
    assert broken is not None
    assert (broken.event_id, broken.subject) == (first - 1, "cnt_9")


def test_an_end_that_was_cut_off_is_found_only_with_a_hash_that_was_kept(log: EventLog) -> None:
    anchor = log.head()
    execute(log, f"DELETE FROM events WHERE id = {anchor.event_id}")
    assert log.verify().ok, "what is left is a chain"
    verdict = log.verify(anchor.hash)
    assert (verdict.ok, verdict.broken, verdict.expected) == (False, None, "missing")


@pytest.mark.parametrize("bad", ["", "abc", "z" * 64, "0" * 63, "0" * 66])
def test_a_hash_that_is_none_is_refused(log: EventLog, bad: str) -> None:
    with pytest.raises(Invalid, match="64 hex digits"):
        log.verify(bad)


def test_denials_that_made_room_leave_a_chain_and_others_that_are_gone_do_not(
    databases: Databases, tmp_path: Path
) -> None:
    log = make_log(databases, tmp_path)
    denials = Denials(log, log._clock, per_window=1000, kept=20)
    for number in range(50):
        denials.note(f"pr_{number}", "functions.read", None)
    verdict = log.verify()
    assert (verdict.ok, verdict.events) == (True, len(ids(log)))
    oldest = next(entry for entry in log.entries(limit=100, newest_first=False).items if entry.kind == "access.denied")
    execute(log, f"DELETE FROM events WHERE id = {oldest.id}")
    broken = log.verify().broken
    assert broken is not None
    assert (broken.kind, broken.version) == ("access.denied", oldest.version + 1)


def test_writers_on_two_engines_append_one_chain(databases: Databases, tmp_path: Path) -> None:
    logs = [make_log(databases, tmp_path), make_log(databases, tmp_path)]

    def work(log: EventLog, counter: str) -> None:
        for number in range(10):
            add(log, number, number, counter=counter)

    threads = [threading.Thread(target=work, args=(logs[n % 2], f"cnt_{n}")) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    verdict = logs[0].verify()
    assert (verdict.ok, verdict.events) == (True, 80)


fields = st.builds(
    Sealed, st.text(), st.integers(), st.text(), st.binary(), st.integers(), st.text(), st.none() | st.text()
)


@given(fields, fields, st.binary(min_size=32, max_size=32))
def test_unlike_events_have_unlike_hashes(one: Sealed, other: Sealed, previous: bytes) -> None:
    assert (link(previous, one) == link(previous, other)) == (one == other)


def test_the_recipe_of_a_hash_stays_as_it_was() -> None:
    event = Sealed("wl_1", 1, "workload.created", b'{"name":"hello"}', 1_700_000_000_000, "pr_1", None)
    assert link(GENESIS, event).hex() == "6c653d14b904311e97c44607952881f5dc73ef9ef2afbb8f2400a2a143935fb3"


def test_a_transaction_that_fails_leaves_the_head_where_it_was(log: EventLog) -> None:
    before = log.head()

    def fail(after: Callable[[], None]) -> None:
        with log.transaction() as session:
            found = log.load(session, Counter, "cnt_1")
            found.record(Added(amount=1))
            log.save(session, found, by="pr_1", namespace=None)
            after()

    def stumble() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(stumble)
    assert log.head() == before
    add(log, 5)
    assert log.verify(before.hash).ok
