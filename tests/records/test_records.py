"""What hosts report is taken in once, answered by page, and forgotten in time."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Invalid, NotFound, Unavailable
from isotherm.db.migrate import upgrade
from isotherm.db.places import RECORDS_SCHEMA
from isotherm.records import store
from isotherm.records.model import Retention
from isotherm.records.policy import merge_minutes, over_log_quota
from isotherm.records.service import LogLimits, Records
from isotherm.storage.vault import Vault
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, Batch, InvocationRecord, LogLine, MinuteAggregate, RecordedEvent
from tests.databases import Databases

NOW_MS = ManualClock().time_ms()
NOW_MINUTE = NOW_MS // 60_000


def record(number: int, **fields: Any) -> InvocationRecord:
    given_fields = {
        "id": f"inv-{number}",
        "namespace": "default",
        "name": "hello",
        "revision_id": "rev_1",
        "alias": "live",
        "source": "url",
        "started_at_ms": NOW_MS,
        "queue_ms": 0.1,
        "start_ms": 0.0,
        "run_ms": 2.0,
        "total_ms": 2.5,
        "outcome": "ok",
        "status": 200,
    }
    return InvocationRecord(**(given_fields | fields))


def minute(count: int = 1, **fields: Any) -> MinuteAggregate:
    given_fields: dict[str, Any] = {
        "namespace": "default",
        "name": "hello",
        "revision_id": "rev_1",
        "minute": NOW_MINUTE,
        "count": count,
        "outcomes": {"ok": count},
        "cold": {},
        "latency": [count] + [0] * len(LATENCY_BUCKETS_MS),
        "total_ms": 2.5 * count,
        "run_ms": 2.0 * count,
        "queue_ms": 0.1 * count,
    }
    return MinuteAggregate(**(given_fields | fields))


def line(message: str, **fields: Any) -> LogLine:
    given_fields: dict[str, Any] = {
        "namespace": "default",
        "name": "hello",
        "revision_id": "rev_1",
        "instance_id": "ins_1",
        "at_ms": NOW_MS,
        "message": message,
    }
    return LogLine(**(given_fields | fields))


def batch(sequence: int = 1, **fields: Any) -> Batch:
    given_fields: dict[str, Any] = {"host_id": "h1", "boot_id": "b1", "sequence": sequence, "sent_at_ms": NOW_MS}
    return Batch(**(given_fields | fields))


def no_spec(revision_id: str) -> RevisionSpec:
    raise NotFound("gone", revision=revision_id)


def make_records(
    databases: Databases,
    folder: Path,
    clock: ManualClock,
    log_limits: Callable[[], LogLimits] = lambda: ({}, None),
    **retention: float,
) -> Records:
    database = databases.open(folder / "records.db", schema=RECORDS_SCHEMA)
    upgrade(database, "records")
    keep = msgspec.convert(retention, Retention, strict=False)
    return Records(
        database, clock, vault=Vault(bytes(range(32))), retention=keep, spec_of=no_spec, log_limits=log_limits
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def records(tmp_path: Path, clock: ManualClock, databases: Databases) -> Records:
    return make_records(databases, tmp_path, clock)


def counts(records: Records) -> list[int]:
    found = records.minutes("default", "hello", since_minute=0, until_minute=NOW_MINUTE + 100)
    return [one.count for one in found]


def test_a_batch_is_taken_in_whole(records: Records) -> None:
    taken = batch(invocations=[record(1), record(2)], minutes=[minute(7)], logs=[line("one"), line("two")])
    assert records.ingest(taken)
    assert records.invocation("default", "inv-2") == record(2)
    assert records.invocations("default").items == [record(2), record(1)]
    assert records.minutes("default", "hello", since_minute=NOW_MINUTE, until_minute=NOW_MINUTE + 1) == [minute(7)]
    assert records.logs("default", "hello").items == [line("one"), line("two")]


def test_a_batch_that_comes_again_changes_nothing(records: Records) -> None:
    taken = batch(invocations=[record(1)], minutes=[minute(7)], logs=[line("one")])
    assert [records.ingest(taken) for _ in range(3)] == [True, False, False]
    assert records.ingest(batch(boot_id="b2", minutes=[minute(1)])), "another boot counts anew"
    assert counts(records) == [8]
    assert len(records.invocations("default").items) == len(records.logs("default", "hello").items) == 1


def test_a_batch_that_comes_twice_at_the_same_moment_is_taken_in_once(records: Records) -> None:
    outcomes: list[bool] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(records.ingest(batch(minutes=[minute(7)])))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == [False] * 7 + [True]
    assert counts(records) == [7]


@pytest.mark.parametrize("number", [2**63, -(2**70)])
def test_a_batch_that_no_database_holds_is_refused_whole(records: Records, number: int) -> None:
    with pytest.raises(Invalid, match="out of range"):
        records.ingest(batch(logs=[line("one", at_ms=number)], invocations=[record(1)]))
    assert records.invocations("default").items == []


def test_a_batch_that_cannot_be_written_leaves_nothing_and_can_come_again(
    tmp_path: Path, clock: ManualClock, databases: Databases
) -> None:
    records = make_records(databases, tmp_path, clock)
    with records._database.write() as session:
        session.execute(sqlalchemy.text("ALTER TABLE logs RENAME TO away"))
    taken = batch(invocations=[record(1)], logs=[line("one")])
    with pytest.raises(Unavailable):
        records.ingest(taken)
    assert records.invocations("default").items == []
    with records._database.write() as session:
        session.execute(sqlalchemy.text("ALTER TABLE away RENAME TO logs"))
    assert records.ingest(taken)
    assert records.logs("default", "hello").items == [line("one")]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["rev_1", "rev_2"]), st.integers(0, 2), st.integers(1, 50)), min_size=1, max_size=30
    ),
    batches=st.integers(1, 5),
)
def test_parts_of_a_minute_add_up_whatever_batches_they_come_in(
    parts: list[tuple[str, int, int]], batches: int, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = make_records(databases, tmp_path_factory.mktemp("records"), ManualClock())
    for number in range(batches):
        mine = [minute(count, revision_id=one, minute=at) for one, at, count in parts[number::batches]]
        records.ingest(batch(number, minutes=mine))
    found = records.minutes("default", "hello", since_minute=0, until_minute=10)
    expected: dict[tuple[int, str], int] = {}
    for one, at, count in parts:
        expected[at, one] = expected.get((at, one), 0) + count
    assert [(one.minute, one.revision_id, one.count) for one in found] == [
        (at, one, count) for (at, one), count in sorted(expected.items())
    ]
    for one in found:
        assert one.outcomes == {"ok": one.count}
        assert sum(one.latency) == one.count
        assert one.total_ms == pytest.approx(2.5 * one.count)
    records._database.close()


def test_minutes_of_one_revision_are_read_from_a_minute_on(records: Records) -> None:
    for number, offset in enumerate((0, 1, 2)):
        mine = [
            minute(number + 1, minute=NOW_MINUTE + offset),
            minute(9, minute=NOW_MINUTE + offset, revision_id="rev_other"),
        ]
        records.ingest(batch(100 + number, minutes=mine))
    found = records.revision_minutes("rev_1", since_minute=NOW_MINUTE + 1)
    assert [(each.minute - NOW_MINUTE, each.count) for each in found] == [(2, 3), (1, 2)]


def test_minutes_of_a_namespace_are_read_page_by_page(records: Records) -> None:
    taken = [
        minute(number + 1, minute=NOW_MINUTE + number % 4, revision_id=f"rev_{number % 3}", name=f"f{number % 2}")
        for number in range(12)
    ]
    records.ingest(batch(minutes=[*taken, minute(5, minute=NOW_MINUTE, namespace="other", revision_id="rev_x")]))
    for function in (None, "f1"):
        wanted = sorted(
            (one.minute, one.name, one.revision_id, one.count)
            for one in taken
            if function in (None, one.name) and NOW_MINUTE + 1 <= one.minute < NOW_MINUTE + 3
        )
        seen: list[tuple[int, str, str, int]] = []
        cursor = None
        while True:
            page = records.namespace_minutes(
                "default",
                function=function,
                since_minute=NOW_MINUTE + 1,
                until_minute=NOW_MINUTE + 3,
                limit=2,
                cursor=cursor,
            )
            seen += [(one.minute, one.name, one.revision_id, one.count) for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == wanted


def test_a_cursor_of_other_minutes_is_refused(records: Records) -> None:
    records.ingest(batch(minutes=[minute(minute=NOW_MINUTE + offset) for offset in range(3)]))
    page = records.namespace_minutes("default", since_minute=NOW_MINUTE, until_minute=NOW_MINUTE + 3, limit=1)
    with pytest.raises(Invalid, match="cursor"):
        records.namespace_minutes(
            "default", since_minute=NOW_MINUTE + 1, until_minute=NOW_MINUTE + 3, cursor=page.next_cursor
        )


def test_histograms_of_another_version_add_up() -> None:
    (merged,) = merge_minutes([minute(1, latency=[1, 0]), minute(2, latency=[0, 1, 1], cold={"first": 1})])
    assert (merged.count, merged.latency, merged.cold) == (3, [1, 1, 1], {"first": 1})


def test_invocations_are_found_by_function_and_outcome_page_by_page(records: Records) -> None:
    outcomes = ["ok", "crash", "timeout"]
    taken = [record(n, name="hello" if n % 2 else "other", outcome=outcomes[n % 3]) for n in range(60)]
    records.ingest(batch(invocations=taken))
    for function, outcome in ((None, None), ("hello", None), (None, "crash"), ("other", "timeout")):
        wanted = [one.id for one in reversed(taken) if function in (None, one.name) and outcome in (None, one.outcome)]
        seen: list[str] = []
        cursor = None
        while True:
            page = records.invocations("default", function=function, outcome=outcome, limit=7, cursor=cursor)  # type: ignore[arg-type]  # one of the literals
            seen += [one.id for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == wanted


def test_a_foreign_namespace_sees_nothing(records: Records) -> None:
    records.ingest(batch(invocations=[record(1)], logs=[line("one", invocation_id="inv-1")], minutes=[minute()]))
    assert records.invocations("other").items == []
    assert records.logs("other", "hello").items == []
    assert records.logs("other", "hello", invocation_id="inv-1").items == []
    assert records.minutes("other", "hello", since_minute=0, until_minute=2**31 - 1) == []
    for question in (records.invocation, records.explain):
        with pytest.raises(NotFound, match="kept in full"):
            question("other", "inv-1")


def test_logs_without_a_start_are_the_last_ones_oldest_first(records: Records) -> None:
    records.ingest(batch(logs=[line(str(number)) for number in range(10)]))
    assert [one.message for one in records.logs("default", "hello", limit=3).items] == ["7", "8", "9"]


def test_the_cursor_of_logs_goes_on_with_what_came_later(records: Records) -> None:
    assert records.logs("default", "hello").next_cursor is None
    records.ingest(batch(1, logs=[line("a"), line("b")]))
    page = records.logs("default", "hello")
    assert records.logs("default", "hello", cursor=page.next_cursor).items == []
    assert records.logs("default", "hello", cursor=page.next_cursor).next_cursor == page.next_cursor
    records.ingest(batch(2, logs=[line("c"), line("other", name="other"), line("d")]))
    later = records.logs("default", "hello", cursor=page.next_cursor, limit=1)
    assert [one.message for one in later.items] == ["c"]
    rest = records.logs("default", "hello", cursor=later.next_cursor)
    assert [one.message for one in rest.items] == ["d"]
    with pytest.raises(Invalid, match="cursor"):
        records.logs("default", "hello", cursor="nonsense")


def test_logs_since_a_time_and_of_an_invocation(records: Records) -> None:
    lines = [line(str(n), at_ms=NOW_MS + n, invocation_id=f"inv-{n % 2}") for n in range(10)]
    records.ingest(batch(logs=lines))
    since = records.logs("default", "hello", since_ms=NOW_MS + 6)
    assert [one.message for one in since.items] == ["6", "7", "8", "9"]
    assert [one.message for one in records.logs("default", "hello", since_ms=NOW_MS + 6, limit=2).items] == ["6", "7"]
    of_one = records.logs("default", "hello", invocation_id="inv-1", since_ms=NOW_MS + 2)
    assert [one.message for one in of_one.items] == ["3", "5", "7", "9"]
    assert records.logs("default", "hello", since_ms=NOW_MS + 100).items == []


def test_what_is_too_old_is_swept(tmp_path: Path, clock: ManualClock, databases: Databases) -> None:
    records = make_records(databases, tmp_path, clock, invocations_s=100, logs_s=100, minutes_s=600, batches_s=1000)
    day = 86_400_000
    old = batch(
        1,
        invocations=[record(1, started_at_ms=NOW_MS - day)],
        logs=[line("old", at_ms=NOW_MS - day)],
        minutes=[minute(1, minute=NOW_MINUTE - 1440)],
    )
    records.ingest(old)
    records.ingest(batch(2, invocations=[record(2)], logs=[line("new")], minutes=[minute(2)]))
    assert records.sweep() == records.sweep().__class__(invocations=1, minutes=1, logs=1)
    assert [one.id for one in records.invocations("default").items] == ["inv-2"]
    assert [one.message for one in records.logs("default", "hello").items] == ["new"]
    assert counts(records) == [2]
    assert not records.ingest(old), "remembered for longer than what it held"
    clock.advance(1001)
    records.sweep()
    assert records.ingest(old)


def test_what_is_too_much_is_swept_oldest_first(tmp_path: Path, clock: ManualClock, databases: Databases) -> None:
    size = len(msgspec.json.encode(line("0")))
    records = make_records(databases, tmp_path, clock, max_invocations=3, max_log_bytes=size * 4)
    for number in range(10):
        records.ingest(batch(number, invocations=[record(number)], logs=[line(str(number))]))
    swept = records.sweep()
    assert (swept.invocations, swept.logs) == (7, 6)
    assert [one.id for one in records.invocations("default").items] == ["inv-9", "inv-8", "inv-7"]
    assert [one.message for one in records.logs("default", "hello").items] == ["6", "7", "8", "9"]
    assert records.sweep() == type(swept)(invocations=0, minutes=0, logs=0)
    records.ingest(batch(99, logs=[line("x")]))
    assert records.sweep().logs == 1, "the totals were kept right"


def test_a_namespace_over_its_quota_loses_its_own_oldest_lines_and_no_others(
    tmp_path: Path, clock: ManualClock, databases: Databases
) -> None:
    size = len(msgspec.json.encode(line("00", namespace="team")))
    limits: LogLimits = ({"team": size * 4}, None)
    records = make_records(databases, tmp_path, clock, log_limits=lambda: limits)
    for number in range(10):
        lines = [line(f"{number:02}"), line(f"{number:02}", namespace="team"), line("x", namespace="third")]
        records.ingest(batch(number, logs=lines))
    assert records.log_bytes("team") == size * 10
    assert records.sweep().logs == 6
    assert [one.message for one in records.logs("team", "hello").items] == ["06", "07", "08", "09"]
    assert len(records.logs("default", "hello").items) == len(records.logs("third", "hello").items) == 10
    assert records.log_bytes("team") == size * 4
    assert records.sweep().logs == 0
    limits = ({"default": 10**9}, size * 3)
    assert records.sweep().logs >= 1 + 6, "the default is for all that have none of their own"
    assert len(records.logs("default", "hello").items) == 10


def test_a_store_that_is_filled_over_its_limit_keeps_the_newest_and_its_file_stays_as_large(
    tmp_path: Path, clock: ManualClock
) -> None:
    limit = 1024 * 1024
    records = make_records(Databases("sqlite", None), tmp_path, clock, max_log_bytes=limit)
    file, newest, sizes = tmp_path / "records.db", "", []
    for sequence in range(40):
        newest = f"{sequence} " + "x" * 900
        records.ingest(batch(sequence, logs=[line(newest) for _ in range(500)]))
        records.sweep()
        assert records.log_bytes("default") <= limit
        sizes.append(file.stat().st_size)
    assert records.logs("default", "hello", limit=1).items == [line(newest)]
    assert 15 * limit < 40 * 500 * 900, "much more came than is kept"
    assert max(sizes[20:]) <= 1.05 * max(sizes[:20]), "free pages are used again"
    assert max(sizes) < 4 * limit


def test_a_batch_is_taken_in_while_much_is_swept(tmp_path: Path, clock: ManualClock, databases: Databases) -> None:
    records = make_records(databases, tmp_path, clock, logs_s=100)
    for sequence in range(10):
        records.ingest(batch(sequence, logs=[line("old", at_ms=0) for _ in range(2000)]))
    swept: list[int] = []
    sweeping = threading.Thread(target=lambda: swept.append(records.sweep().logs))
    sweeping.start()
    taken = 0
    while sweeping.is_alive() and taken < 1000:
        taken += 1
        records.ingest(batch(1000 + taken, logs=[line("new")]))
    sweeping.join(30)
    assert swept == [20_000]
    assert taken >= 5, "the sweep let others have their turn between its parts"
    assert len(records.logs("default", "hello", limit=1000).items) == taken


def test_which_revisions_were_called_of_late(records: Records) -> None:
    records.ingest(batch(minutes=[minute(1), minute(1, revision_id="rev_2", minute=NOW_MINUTE - 10)]))
    ids = ["rev_1", "rev_2", "rev_3"]
    assert records.called_since(ids, NOW_MS - 5 * 60_000) == {"rev_1"}
    assert records.called_since(ids, NOW_MS - 600_000) == {"rev_1", "rev_2"}
    assert records.called_since([], 0) == set()


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100)),
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 100)),
    st.one_of(st.none(), st.integers(1, 100)),
)
def test_what_is_over_a_log_quota(kept: dict[str, int], own: dict[str, int], other: int | None) -> None:
    over = dict(over_log_quota(kept, own, other))
    for name, size in kept.items():
        limit = own.get(name, other)
        assert over.get(name, 0) == (0 if limit is None else max(0, size - limit))
    assert list(over.values()) == sorted(over.values(), reverse=True)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT seq, at_ms FROM logs WHERE namespace = 'a' ORDER BY seq LIMIT 10",
        "SELECT body FROM invocations WHERE namespace = 'a' ORDER BY seq DESC LIMIT 10",
        "SELECT body FROM invocations WHERE namespace = 'a' AND name = 'b' ORDER BY seq DESC LIMIT 10",
        "SELECT body FROM invocations WHERE namespace = 'a' AND outcome = 'b' ORDER BY seq DESC LIMIT 10",
        "SELECT body FROM logs WHERE namespace = 'a' AND name = 'b' ORDER BY seq DESC LIMIT 10",
    ],
)
@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # Postgres would rather read small tables whole
def test_a_page_is_read_off_an_index(records: Records, statement: str) -> None:
    with records._database.read() as session:
        plan = " ".join(str(row.detail) for row in session.execute(sqlalchemy.text("EXPLAIN QUERY PLAN " + statement)))
    assert "USING INDEX" in plan
    assert "TEMP B-TREE" not in plan, "nothing is sorted"


def event(number: int, content: bytes = b'{"secret": "xylophone"}', at_ms: int = 1_700_000_000_000) -> RecordedEvent:
    return RecordedEvent(id=f"call-{number}", namespace="default", name="hello", at_ms=at_ms, event=content)


def test_an_event_is_found_by_its_call_in_its_namespace_alone(records: Records) -> None:
    records.ingest(batch(1, events=[event(1), event(2, b"2")]))
    assert records.event("default", "call-2") == b"2"
    records.ingest(batch(2, events=[event(2, b"3")]))
    assert records.event("default", "call-2") == b"3", "that of the last attempt"
    for namespace, call in (("other", "call-2"), ("default", "call-3")):
        with pytest.raises(NotFound, match=r"\[records\]"):
            records.event(namespace, call)


def test_an_event_is_sealed_and_bound_to_its_call(records: Records) -> None:
    records.ingest(batch(1, events=[event(1), event(2)]))
    with records._database.write() as session:
        rows = session.execute(sqlalchemy.select(store.events.c.invocation_id, store.events.c.body)).all()
        assert all(b"xylophone" not in row.body for row in rows)
        session.execute(
            sqlalchemy.update(store.events).where(store.events.c.invocation_id == "call-1").values(body=rows[1].body)
        )
    with pytest.raises(Unavailable):
        records.event("default", "call-1")


def test_events_are_swept_by_age_and_by_size(databases: Databases, tmp_path: Path, clock: ManualClock) -> None:
    records = make_records(databases, tmp_path, clock, invocations_s=100.0, max_event_bytes=1000)
    records.ingest(batch(1, events=[event(n, bytes(b"1" * 300), clock.time_ms()) for n in range(10)]))
    swept = records.sweep()
    assert swept.events == 7, "each takes 28 bytes more, sealed"
    assert records.event("default", "call-9")
    clock.advance(200)
    assert records.sweep().events == 3
    with pytest.raises(NotFound):
        records.event("default", "call-9")
