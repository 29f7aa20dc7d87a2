"""What only the SQLite driver has to show: that its statements find their rows by an index, however many there are."""

from pathlib import Path

from isotherm.queue.drivers.sqlite import SqliteQueue
from isotherm.queue.model import AsyncCall, CallRow, CallState, Outcome
from isotherm.storage.vault import Vault

COUNT = 200  # more than one statement inserts


def calls(count: int) -> list[AsyncCall]:
    return [AsyncCall(id=f"call-{n}", namespace="default", name="job", due_at_ms=n) for n in range(count)]


def test_no_statement_of_a_call_looks_through_all_calls(tmp_path: Path) -> None:
    store = SqliteQueue(tmp_path / "queue.db", Vault(b"k" * 32))
    store.open()
    said: list[str] = []
    writer = store._write
    writer.set_trace_callback(said.append)
    store.begin()
    for call in calls(COUNT):
        store.insert(call, claimed=False)
    claimed, following = store.claim("default", "job", 150, 100)
    assert ([call.id for call in claimed], following) == ([f"call-{n}" for n in range(100)], 100)
    store.finish(claimed[0], CallState.SUCCEEDED, 200, Outcome(), None)
    store.finish(claimed[1], CallState.DEAD, 200, Outcome(), None)
    store.postpone(claimed[2], Outcome())
    dead = CallRow(call=claimed[1], state=CallState.DEAD, finished_at_ms=200, outcome=None, redriven_to=None)
    assert store.redrive(dead, AsyncCall(id="again", namespace="default", name="job"))
    assert store.purge("default", "job", CallState.QUEUED, ["call-3"], 10) == 11
    assert store.sweep(CallState.SUCCEEDED, 300, 10) == 1
    store.commit()
    writer.set_trace_callback(None)
    plans = {
        sql: " / ".join(row[3] for row in writer.execute(f"EXPLAIN QUERY PLAN {sql}"))
        for sql in said
        if " calls " in sql and not sql.startswith("INSERT")
    }
    assert len(plans) >= 8
    assert not [sql for sql, plan in plans.items() if "SCAN calls" in plan]
    of_claims = [plan for sql, plan in plans.items() if "due_at_ms <=" in sql or "min(due_at_ms)" in sql]
    assert len(of_claims) == 2
    assert all("COVERING INDEX calls_open" in plan for plan in of_claims)
    store.close()


def test_a_transaction_that_is_rolled_back_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    store = SqliteQueue(tmp_path / "queue.db", Vault(b"k" * 32))
    store.open()
    first, second = calls(2)
    store.begin()
    store.insert(first, claimed=False)
    store.rollback()
    store.begin()
    store.insert(second, claimed=False)
    store.commit()
    assert [call.id for call in store.claim("default", "job", 1000, 10)[0]] == ["call-1"]
    store.close()
