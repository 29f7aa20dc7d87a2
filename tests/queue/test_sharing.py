"""Hosts on one queue in Postgres: whose a call is, who takes it over, and who may no longer end it."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Unavailable
from isotherm.queue.drivers import postgres_connection
from isotherm.queue.model import AsyncCall, CallState, Waiting
from tests.queue.hosts import LEASE_S, OK, Host, Shared, until_now

QUEUED, CLAIMED, SUCCEEDED, DEAD = 0, 1, 2, 3


def steady(host: Host) -> Host:
    """Long enough in touch with the database to judge others by their silence."""
    host.keep(LEASE_S + 1)
    return host


def test_a_host_claims_its_own_calls_alone(shared: Shared) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    mine, theirs = a.accept(), b.accept()
    assert a.ids(a.claim()) == [mine.id]
    assert b.ids(b.claim()) == [theirs.id]
    assert a.claim() == b.claim() == []


def test_calls_of_a_host_that_is_gone_are_taken_over_whatever_it_held(shared: Shared) -> None:
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    waits, held, over = b.accept(), b.accept(claimed=True, name="g"), b.accept(claimed=True)
    b.finish(over)
    shared.run_out(b)
    news = a.news()
    assert news.adopted == 2
    assert sorted(news.waiting, key=lambda found: found.name) == [
        Waiting("default", "f", waits.due_at_ms),
        Waiting("default", "g", held.due_at_ms),
    ]
    assert shared.states() == {
        waits.id: ("host_a", QUEUED),
        held.id: ("host_a", QUEUED),
        over.id: ("host_b", SUCCEEDED),
    }
    assert a.news().adopted == 0


def test_a_host_that_is_heard_of_keeps_its_calls(shared: Shared) -> None:
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    b.accept()
    assert a.news().adopted == 0
    b.keep(1)
    assert a.news().adopted == 0


def test_much_is_taken_over_in_parts(shared: Shared) -> None:
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    for _ in range(5):
        b.accept()
    shared.run_out(b)
    assert [a.news(2).adopted for _ in range(4)] == [2, 2, 1, 0]


def test_after_an_outage_nobody_is_taken_for_gone_before_all_could_be_heard_of(shared: Shared) -> None:
    """The database was away for longer than a lease: all of them have run out when it is back."""
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    call = b.accept(claimed=True)
    shared.run_out(a)
    shared.run_out(b)
    a.keep(LEASE_S - 1)
    assert a.news().adopted == 0
    b.keep(1)
    a.keep(2)
    assert a.news().adopted == 0
    b.finish(call)
    assert shared.states()[call.id] == ("host_b", SUCCEEDED)
    assert (a.store.lost, b.store.lost) == (0, 0)


def test_a_host_that_lost_its_lease_can_end_nothing_that_another_has(shared: Shared) -> None:
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    ended, postponed = b.accept(claimed=True), b.accept(claimed=True)
    shared.run_out(b)
    a.news()
    by_id = {call.id: call for call in a.claim()}
    followed = AsyncCall(id="followed", namespace="default", name="f")
    assert not b.store.may_begin()
    with b.writing() as store:
        store.finish(ended, CallState.SUCCEEDED, 1, OK, followed)
        postponed.due_at_ms = 0
        store.postpone(postponed, OK)
    assert shared.states() == {ended.id: ("host_a", CLAIMED), postponed.id: ("host_a", CLAIMED)}
    assert (b.store.lost, b.store.fenced) == (1, 2)
    assert b.store.stale(ended)
    assert b.store.stale(postponed)
    a.finish(by_id[ended.id], then=followed)
    assert shared.states()["followed"] == ("host_a", QUEUED)


def test_a_dead_letter_stays_dead_whoever_held_the_call_before(shared: Shared) -> None:
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    call = b.accept(claimed=True)
    shared.run_out(b)
    a.news()
    (again,) = a.claim()
    a.finish(again, CallState.DEAD)
    b.finish(call)
    with b.writing() as store:
        store.postpone(call, OK)
    assert shared.states() == {call.id: ("host_a", DEAD)}
    assert b.claim() == []


def test_a_host_that_comes_back_before_its_calls_were_taken_has_them_again_and_runs_none_twice(shared: Shared) -> None:
    """It may not end what it held before: it would not know whether the call was claimed again meanwhile."""
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    held, waits = b.accept(claimed=True), b.accept()
    shared.run_out(b)
    a.news(1)
    b.finish(held)
    states = shared.states()
    taken = next(one for one, (host, _) in states.items() if host == "host_a")
    left = ({held.id, waits.id} - {taken}).pop()
    assert states == {taken: ("host_a", QUEUED), left: ("host_b", QUEUED)}
    assert b.news().waiting == [Waiting("default", "f", {held.id: held, waits.id: waits}[left].due_at_ms)]
    assert b.ids(b.claim()) == [left]
    assert b.store.may_begin()
    assert a.news().adopted == 0


def test_a_new_process_of_a_host_queues_again_what_that_host_had_claimed_and_nothing_else(shared: Shared) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    mine, theirs = a.accept(claimed=True), b.accept(claimed=True)
    again = shared.host("host_a")
    assert shared.states() == {mine.id: ("host_a", QUEUED), theirs.id: ("host_b", CLAIMED)}
    (claimed,) = again.claim()
    with pytest.raises(Unavailable, match="another host with the id host_a"):
        a.finish(mine)
    assert shared.states()[mine.id] == ("host_a", CLAIMED)
    again.finish(claimed)
    b.finish(theirs)
    assert {state for _, state in shared.states().values()} == {SUCCEEDED}


def test_hosts_that_take_over_at_once_share_the_calls_and_none_is_taken_twice(shared: Shared) -> None:
    gone = shared.host("host_gone")
    count = 600
    with gone.writing() as store:
        for number in range(count):
            store.insert(AsyncCall(id=f"c{number}", namespace="default", name="f"), claimed=number % 2 == 0)
    others = [steady(shared.host(f"host_{number}")) for number in range(4)]
    shared.run_out(gone)
    taken: list[tuple[str, str]] = []
    barrier = threading.Barrier(len(others))

    def claim_all(host: Host) -> None:
        barrier.wait(10)
        for _ in range(200):
            host.news(20)
            calls = host.claim(20)
            taken.extend((call.id, host.name) for call in calls)
            for call in calls:
                with host.writing() as store:
                    store.finish(call, CallState.SUCCEEDED, 1, OK, None)
            if len(taken) >= count:
                return

    threads = [threading.Thread(target=claim_all, args=(host,)) for host in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    runs = Counter(one for one, _ in taken)
    assert len(runs) == count
    assert set(runs.values()) == {1}
    assert len({host for _, host in taken}) > 1, "one of them took all"
    assert {state for _, state in shared.states().values()} == {SUCCEEDED}


def test_nobody_waits_for_a_host_that_stands_still_in_the_middle_of_a_transaction(
    shared: Shared,
) -> None:
    """Its machine was paused, and the server knows nothing of it."""
    a, b = steady(shared.host("host_a")), shared.host("host_b", through_proxy=True)
    call = b.accept(claimed=True)
    shared.run_out(b)  # before it begins: its row is locked then
    b.store.begin()
    b.store.finish(call, CallState.SUCCEEDED, 1, OK, None)
    shared.proxy.hang()
    assert a.news().adopted == 0, "its transaction is not over yet"
    until_now(lambda: a.news().adopted == 1, "the call to be taken over")
    assert shared.states() == {call.id: ("host_a", QUEUED)}


def test_a_transaction_that_stands_still_is_ended_by_the_server(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_connection.LIMITS, "idle_in_transaction_session_timeout", "300ms")
    host = shared.host("host_a", through_proxy=True)
    host.accept()
    host.store.begin()
    host.store.claim("default", "f", 10**15, 1)
    shared.proxy.hang()
    under_way = "SELECT pid FROM pg_stat_activity WHERE application_name = 'isotherm queue host_a'"
    assert shared.ask(under_way)
    until_now(lambda: not shared.ask(under_way), "the end of the transaction")
    shared.host("host_b")
    assert {state for _, state in shared.states().values()} == {QUEUED}


def test_times_are_of_the_databases_clock_whatever_the_hosts_clocks_say(shared: Shared) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    hour_ms = 3_600_000
    (now_ms,) = shared.ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0]
    behind, ahead = ManualClock(now_ms - hour_ms), ManualClock(now_ms + hour_ms)
    times = [a.store.clock(behind).time_ms(), b.store.clock(ahead).time_ms()]
    assert all(abs(time_ms - now_ms) < 30_000 for time_ms in times)
    a.now_s += 5.0
    assert 4000 < a.store.clock(behind).time_ms() - times[0] < 6000, "it goes on without asking"


def test_before_the_queue_is_open_the_hosts_own_clock_counts(shared: Shared) -> None:
    host = shared.host("host_a", opened=False)
    assert host.store.clock(ManualClock(123)).time_ms() == 123


def test_a_clock_of_the_database_that_jumps_makes_nobody_take_calls_away(shared: Shared) -> None:
    """All leases seem to have run out, and their hosts have not had the time to renew them."""
    a, b = steady(shared.host("host_a")), shared.host("host_b")
    call = b.accept(claimed=True)
    told = a.store._clock._told
    assert told is not None
    a.store._clock._told = (told[0] - 3_600_000, told[1])  # an hour ago by the database's clock, now by ours
    shared.execute("UPDATE hosts SET expires_at = expires_at - interval '1 hour'")
    assert a.news().adopted == 0
    b.keep(1)
    steady(a)
    assert a.news().adopted == 0
    b.finish(call)


def test_another_master_key_is_refused(shared: Shared) -> None:
    shared.host("host_a").accept()
    with pytest.raises(Unavailable, match="another master key"):
        shared.host("host_b", key=b"x" * 32)


def test_what_one_host_holds_back_the_others_hear_of(shared: Shared) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    with a.writing() as store:
        store.pause("default", "f", paused=True)
    assert b.news().paused == {("default", "f")}
    with b.writing() as store:
        store.pause("default", "f", paused=False)
    assert a.news().paused == set()


def test_each_move_of_a_trigger_is_made_by_one_host(shared: Shared) -> None:
    hosts = [shared.host("host_a"), shared.host("host_b")]
    for before, position in ((None, 5), (5, 9)):
        moved = []
        for host in hosts:
            with host.writing() as store:
                moved.append(store.move("cron x", position, before))
        assert moved == [True, False]
    with hosts[1].writing() as store:
        store.forget_triggers([])
        assert store.position("cron x") == 9, "another host moved it, and may know why"
    with hosts[0].writing() as store:
        store.forget_triggers([])
        assert store.position("cron x") is None


def test_a_move_that_is_under_way_elsewhere_is_not_waited_for(shared: Shared) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    for before in (None, 1):
        a.store.begin()
        assert a.store.move("cron x", 1 if before is None else 2, before)
        with b.writing() as store:
            assert not store.move("cron x", 3, before)
        a.store.commit()


def sizes(shared: Shared) -> list[Any]:
    return shared.ask("SELECT (SELECT coalesce(sum(size), 0) FROM calls), (SELECT sum(bytes) FROM hosts)")


SIZED: list[tuple[str, Callable[[Host, Host], None]]] = [
    ("accepted", lambda a, b: a.accept(event=b"x" * 1000) and None),
    ("ended", lambda a, b: a.finish(a.accept(claimed=True))),
    (
        "ended and followed",
        lambda a, b: a.finish(a.accept(claimed=True), then=AsyncCall(id="n", namespace="d", name="g")),
    ),
    ("swept by another host", lambda a, b: (a.finish(a.accept(claimed=True)), swept(b))[1]),
    ("purged by another host", lambda a, b: (a.accept(), purged(b))[1]),
    ("fenced", lambda a, b: fenced(a)),
]


def swept(host: Host) -> None:
    with host.writing() as store:
        assert store.sweep(CallState.SUCCEEDED, 10**15, 100) == 1


def purged(host: Host) -> None:
    with host.writing() as store:
        assert store.purge("default", "f", CallState.QUEUED, [], 1) == 1


def fenced(host: Host) -> None:
    """What was counted for an end that was dropped is put right with the next measure."""
    call = host.accept(claimed=True)
    call.claim += 1
    host.finish(call)
    assert host.store.fenced == 1


@pytest.mark.parametrize(("what", "work"), SIZED, ids=[name for name, _ in SIZED])
def test_the_size_is_that_of_all_calls_whoever_wrote_and_removed_them(
    shared: Shared, what: str, work: Callable[[Host, Host], None]
) -> None:
    a, b = shared.host("host_a"), shared.host("host_b")
    a.accept()
    work(a, b)
    measured = []
    for host in (a, b):
        with host.writing() as store:
            measured.append(store.used_bytes())
    ((rows, counters),) = sizes(shared)
    assert measured == [rows, rows], what
    assert rows == counters > 0
