"""Receipts of decisions are kept, found and forgotten; the policy's state and the counts it starts from come back."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Invalid
from isotherm.records import decisions, store
from isotherm.records.service import Records
from isotherm.warming.receipt import Alternative, Receipt
from tests.databases import Databases
from tests.records.test_records import NOW_MINUTE, NOW_MS, batch, make_records, minute


def receipt(number: int, **fields: Any) -> Receipt:
    given_fields: dict[str, Any] = {
        "namespace": "default",
        "name": "hello",
        "revision_id": "rev_1",
        "at_ms": NOW_MS + number,
        "reason": "forecast",
        "expected": 0.008,
        "calls": 0.0081,
        "rung": "cold",
        "instances": 0,
        "former_rung": "warm",
        "former_instances": 1,
        "price": 0.0021,
        "budget": "platform: idle <= keep_alive",
        "alternatives": [Alternative(rung="warm", instances=1, idle_gb_s=14.9, wait_s=0.0)],
    }
    return Receipt(**(given_fields | fields))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def records(tmp_path: Path, clock: ManualClock, databases: Databases) -> Records:
    return make_records(databases, tmp_path, clock, receipts_s=3600, max_receipts=5)


def test_receipts_come_back_whole_by_page_the_newest_first(records: Records) -> None:
    made = [receipt(number) for number in range(5)]
    records.add_receipts(made)
    records.add_receipts([receipt(9, name="other"), receipt(9, namespace="team")])
    records.add_receipts([])
    first = records.receipts("default", "hello", limit=2)
    second = records.receipts("default", "hello", limit=2, cursor=first.next_cursor)
    last = records.receipts("default", "hello", limit=2, cursor=second.next_cursor)
    assert [*first.items, *second.items, *last.items] == made[::-1]
    assert last.next_cursor is None
    with pytest.raises(Invalid, match="cursor"):
        records.receipts("default", "hello", cursor="strange")
    with pytest.raises(Invalid, match="limit"):
        records.receipts("default", "hello", limit=0)


def test_the_last_decision_before_a_moment_is_found(records: Records) -> None:
    records.add_receipts([receipt(10), receipt(20), receipt(20, rung="warm", instances=2), receipt(30)])
    records.add_receipts([receipt(25, revision_id="rev_2")])
    assert records.receipt_before("rev_1", NOW_MS + 9) is None
    assert records.receipt_before("rev_1", NOW_MS + 10) == receipt(10)
    found = records.receipt_before("rev_1", NOW_MS + 29)
    assert found == receipt(20, rung="warm", instances=2), "of two in the same millisecond the later one"


def test_the_oldest_receipts_go_by_age_and_by_number(records: Records, clock: ManualClock) -> None:
    records.add_receipts([receipt(number) for number in range(8)])
    assert records.sweep().receipts == 3
    assert [each.at_ms - NOW_MS for each in records.receipts("default", "hello").items] == [7, 6, 5, 4, 3]
    clock.advance(3600 - 0.001)
    records.add_receipts([receipt(4_000_000)])
    assert records.sweep().receipts == 1
    clock.advance(60)
    assert records.sweep().receipts == 4, "older than an hour"
    assert [each.at_ms - NOW_MS for each in records.receipts("default", "hello").items] == [4_000_000]
    assert records.sweep().rows == 0


def test_a_state_is_kept_in_place_of_the_one_before(records: Records) -> None:
    assert records.kept_state("foresight") is None
    records.keep_state("foresight", b"\x00one", 1)
    records.keep_state("foresight", b"\xfftwo", 2)
    records.keep_state("other", b"", 3)
    assert records.kept_state("foresight") == (2, b"\xfftwo")
    assert records.kept_state("other") == (3, b"")


def test_counts_of_all_functions_come_by_minute_with_their_revisions_added_up(records: Records) -> None:
    given = [
        minute(2, minute=NOW_MINUTE),
        minute(3, minute=NOW_MINUTE, revision_id="rev_2", run_ms=10.0),
        minute(5, minute=NOW_MINUTE, namespace="team", revision_id="rev_3"),
        minute(7, minute=NOW_MINUTE - 1, name="other", revision_id="rev_4"),
        minute(9, minute=NOW_MINUTE - 2),
    ]
    records.ingest(batch(1, minutes=given))
    found = list(records.minute_counts(NOW_MINUTE - 1))
    assert found[0] == ("default", "other", NOW_MINUTE - 1, 7, 14.0)
    assert sorted(found[1:]) == [
        ("default", "hello", NOW_MINUTE, 5, 14.0),
        ("team", "hello", NOW_MINUTE, 5, 10.0),
    ]
    assert list(records.minute_counts(NOW_MINUTE + 1)) == []


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_pages_of_counts_lose_nothing_and_double_nothing(
    records: Records, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    given = [
        minute(1 + (number + at) % 5, minute=NOW_MINUTE - at, name=f"f{number}", revision_id=f"rev_{number}")
        for at in range(12)
        for number in range(at % 4)
    ]
    records.ingest(batch(1, minutes=given))
    monkeypatch.setattr(decisions, "_minutes_at_once", at_once)
    found = [(each.name, each.minute, each.calls) for each in records.minute_counts(0)]
    assert sorted(found) == sorted((each.name, each.minute, each.count) for each in given)
    assert [at for _, at, _ in found] == sorted(at for _, at, _ in found), "the oldest minute first"


def test_what_a_start_reads_is_found_by_an_index(tmp_path: Path, databases: Databases, clock: ManualClock) -> None:
    if databases.kind != "sqlite":
        pytest.skip("the plan is SQLite's")
    database = make_records(databases, tmp_path, clock)._database
    query = sqlalchemy.text(
        "EXPLAIN QUERY PLAN SELECT minute, count(*) FROM minutes WHERE minute >= 5 GROUP BY minute ORDER BY minute"
    )
    with database.read() as session:
        plan = " ".join(row.detail for row in session.execute(query))
    assert "COVERING INDEX minutes_minute_idx" in plan
    assert store.minutes.name == "minutes"
