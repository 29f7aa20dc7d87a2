"""What the Postgres driver has to show: its statements find their rows by an index, however many there are."""

import re

import pytest

from isotherm.queue.model import AsyncCall, CallRow, CallState, Outcome
from tests.queue.hosts import LEASE_S, OK, Host, Shared

COUNT = 3000
WHOLE = ("sum(size)", "to_regclass")  # statements that are meant to look at all calls


@pytest.mark.parametrize("analyzed", [False, True])
def test_no_statement_of_a_call_looks_through_all_calls(shared: Shared, analyzed: bool) -> None:
    host, gone = shared.host("host_a"), shared.host("host_gone")
    fill(host)
    fill(gone)
    if analyzed:
        shared.execute("ANALYZE calls; ANALYZE hosts")
    shared.run_out(gone)
    host.keep(LEASE_S + 1)
    plans = watch(host)
    work(host)
    of_calls = {query: plan for query, plan in plans.items() if re.search(r"\bon calls\b", plan)}
    assert len(of_calls) >= 12
    for query, plan in of_calls.items():
        if not any(part in query for part in WHOLE):
            assert "Seq Scan on calls" not in plan, plan
        if "v.id" in query:
            assert "Index Scan using calls_id_key on calls" in plan, plan
        if "ORDER BY due_at_ms, number" in query:
            assert re.search(r"Index (Only )?Scan using calls_open on calls", plan), plan


def fill(host: Host) -> None:
    """Some of each state; most are claimed, which is what a plan would look through."""
    calls = [
        AsyncCall(id=f"{host.name}-{number}", namespace="default", name=f"f{number % 3}", due_at_ms=number)
        for number in range(COUNT)
    ]
    with host.writing() as store:
        for number, call in enumerate(calls):
            store.insert(call, claimed=number % 10 > 0)
    with host.writing() as store:
        for number in range(3, COUNT, 10):
            store.finish(calls[number], CallState(2 + number // 10 % 2), number, OK, None)


def watch(host: Host) -> dict[str, str]:
    """The plans of what the host says from now on, by statement."""
    plans: dict[str, str] = {}
    connection = host.store._session.connection

    def noted(diagnostic: object) -> None:
        text = str(getattr(diagnostic, "message_primary", ""))
        _, found, rest = text.partition("Query Text: ")
        if found:
            plans[rest.partition("(cost=")[0]] = rest

    connection.add_notice_handler(noted)
    for statement in (
        "LOAD 'auto_explain'",
        "SET auto_explain.log_min_duration = 0",
        "SET client_min_messages = log",
    ):
        connection.execute(statement.encode())
    return plans


def work(host: Host) -> None:
    """All that a host says in its life."""
    with host.writing() as store:
        claimed, _ = store.claim("default", "f0", 10**15, 30)
        for number, call in enumerate(claimed[:24]):
            following = AsyncCall(id=f"then-{number}", namespace="default", name="g") if number % 3 == 0 else None
            if number % 3 == 1:
                store.postpone(call, Outcome())
            else:
                store.finish(call, CallState.DEAD if number % 2 else CallState.SUCCEEDED, 1, OK, following)
        assert store.news(100, adopt=True).adopted == 100
        dead = CallRow(call=claimed[3], state=CallState.DEAD, finished_at_ms=1, outcome=None, redriven_to=None)
        assert store.redrive(dead, AsyncCall(id="again", namespace="default", name="f0"))
        assert store.purge("default", "f0", CallState.QUEUED, [claimed[29].id], 10) == 11
        assert store.purge("default", "f0", CallState.DEAD, [], 10) == 10
        assert store.sweep(CallState.SUCCEEDED, 10**15, 10) == 10
        store.latest_ms()
        store.used_bytes()
    assert host.store.fenced == 0
