"""Postgres that goes away in the middle of a transaction, before it, or with the answer to a COMMIT."""

import threading
from collections.abc import Iterator

import pytest

from isotherm.base.errors import Unavailable
from isotherm.queue.drivers import postgres_session
from isotherm.queue.drivers.postgres import PostgresQueue
from isotherm.queue.model import CallState
from isotherm.storage import queue_tables
from isotherm.storage.vault import Vault
from tests.conftest import require
from tests.databases import Cluster, postgres_programs
from tests.queue.hosts import OK, Host, Shared

QUEUED, CLAIMED, SUCCEEDED = 0, 1, 2


@pytest.fixture
def own() -> Iterator[Shared]:
    """On a Postgres of the test's own, because it is stopped."""
    programs = postgres_programs()
    require(programs is not None, "needs Postgres; Debian's package is postgresql")
    assert programs is not None
    cluster = Cluster(programs)
    made = Shared(cluster)
    yield made
    made.close()
    cluster.remove()


@pytest.fixture
def host(shared: Shared) -> Host:
    return shared.host("host_a", through_proxy=True)


def test_a_connection_that_broke_while_nobody_looked_is_made_anew_and_nobody_is_told(
    shared: Shared, host: Host
) -> None:
    first = host.accept(claimed=True)
    shared.proxy.cut()
    second = host.accept()
    host.finish(first)
    assert shared.states() == {first.id: ("host_a", SUCCEEDED), second.id: ("host_a", QUEUED)}
    assert host.store.find(first.id) is not None
    shared.proxy.cut()
    assert host.store.find(first.id) is not None, "so is the one that reads"
    assert host.store.lost == 0


def test_a_connection_that_breaks_in_the_middle_leaves_nothing_and_the_next_transaction_works(
    shared: Shared, host: Host
) -> None:
    call = host.accept(claimed=True)
    host.store.begin()
    host.store.finish(call, CallState.SUCCEEDED, 1, OK, None)
    shared.proxy.cut()
    with pytest.raises(Unavailable, match=r"does not answer|nothing was written"):
        host.store.claim("default", "f", 10**15, 1)
    host.store.rollback()
    assert shared.states() == {call.id: ("host_a", CLAIMED)}
    host.finish(call)
    assert shared.states() == {call.id: ("host_a", SUCCEEDED)}


def test_a_commit_that_did_not_arrive_is_told_and_can_be_made_again(shared: Shared, host: Host) -> None:
    call = host.accept(claimed=True)
    host.store.begin()
    host.store.finish(call, CallState.SUCCEEDED, 1, OK, None)
    shared.proxy.lose_questions()
    with pytest.raises(Unavailable, match="nothing was written"):
        host.store.commit()
    host.store.rollback()
    assert shared.states() == {call.id: ("host_a", CLAIMED)}
    host.finish(call)
    assert shared.states() == {call.id: ("host_a", SUCCEEDED)}
    assert host.store.lost == 0


def test_a_commit_whose_answer_is_lost_is_found_to_be_made(shared: Shared, host: Host) -> None:
    held = host.accept(claimed=True)
    for number in range(3):
        host.store.begin()
        if number == 0:
            host.store.finish(held, CallState.SUCCEEDED, 1, OK, None)
        accepted = host.accepted_in_transaction()
        shared.proxy.lose_answers()
        host.store.commit()
        assert shared.states()[accepted.id] == ("host_a", CLAIMED)
        host.finish(accepted)
        assert shared.states()[accepted.id] == ("host_a", SUCCEEDED), "it is still held"
    assert shared.states()[held.id] == ("host_a", SUCCEEDED)
    assert (host.store.lost, host.store.fenced) == (0, 0)


def test_a_commit_that_nobody_can_ask_for_loses_and_doubles_nothing(
    shared: Shared, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, and is told to have failed. What it claimed is delivered later; a second insert is done."""
    monkeypatch.setattr(postgres_session, "SETTLE_S", -1.0)
    waiting = host.accept()
    host.store.begin()
    (claimed,) = host.store.claim("default", "f", 10**15, 1)[0]
    accepted = host.accepted_in_transaction()
    shared.proxy.lose_answers()
    shared.proxy.refusing = True
    with pytest.raises(Unavailable, match="does not answer"):
        host.store.commit()
    host.store.rollback()
    with pytest.raises(Unavailable, match="does not answer"):
        host.store.begin()
    host.store.rollback()
    shared.proxy.refusing = False
    host.now_s += 1.0
    with host.writing() as store:
        store.insert(accepted, claimed=False)
    assert shared.states() == {waiting.id: ("host_a", QUEUED), accepted.id: ("host_a", QUEUED)}
    (found,) = host.news().waiting
    assert (found.name, found.next_due_ms) == ("f", waiting.due_at_ms)
    host.finish(claimed)
    assert shared.states()[waiting.id] == ("host_a", QUEUED), "the claim that failed ends nothing"
    assert host.ids(host.claim()) == [waiting.id, accepted.id]


def test_a_database_that_is_away_is_asked_no_more_than_twice_a_second(shared: Shared, host: Host) -> None:
    shared.proxy.refusing = True
    shared.proxy.cut()
    with pytest.raises(Unavailable):
        host.store.begin()
    shared.proxy.refusing = False
    with pytest.raises(Unavailable):
        host.store.begin()
    host.now_s += 1.0
    host.accept()


def test_a_database_that_is_restarted_has_all_that_was_accepted(own: Shared) -> None:
    host = own.host("host_a")
    calls = [host.accept(claimed=number % 2 == 0) for number in range(10)]
    own.cluster.stop()
    with pytest.raises(Unavailable, match=r"Postgres does not answer|is stopping"):
        host.accept()
    own.cluster.start()
    host.now_s += 1.0
    for call in calls[::2]:
        host.finish(call)
    assert host.ids(host.claim()) == host.ids(calls[1::2])
    assert host.store.lost == 0
    assert len(own.states()) == 10


def test_the_tables_are_made_once_however_many_come_at_the_same_time(shared: Shared) -> None:
    hosts = [shared.host(f"host_{number}", opened=False) for number in range(6)]
    failures: list[Unavailable] = []
    barrier = threading.Barrier(len(hosts))

    def open_(host: Host) -> None:
        try:
            barrier.wait(10)
            host.store.open()
        except Unavailable as exc:
            failures.append(exc)

    threads = [threading.Thread(target=open_, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert shared.ask("SELECT count(*) FROM hosts") == [(6,)]


def test_tables_of_a_newer_version_are_refused_and_left_alone(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.host("host_a")
    shared.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    with pytest.raises(Unavailable, match="newer version"):
        shared.host("host_b")
    assert shared.ask("SELECT host FROM hosts") == [("host_a",)]
    monkeypatch.setattr(queue_tables, "VERSION", 99)
    shared.host("host_b")


def test_an_accepted_call_is_durable_whatever_the_databases_default_is(shared: Shared) -> None:
    shared.cluster.execute(f"ALTER DATABASE {shared.database} SET synchronous_commit = off")
    host = shared.host("host_a")
    for _ in range(2):
        with host.writing():
            setting = host.store._session.connection.execute("SHOW synchronous_commit").fetchone()
            assert setting == ("on",)
        host.store._session.connection.close()  # also of one that is made anew


def test_what_fails_tells_neither_password_nor_address(postgres: Cluster) -> None:
    for url, words in (
        ("postgresql://me:s3cr3t@127.0.0.1:1/db", "Postgres does not answer: start it"),
        (f"postgresql://me:s3cr3t@127.0.0.1:{postgres.port}/db", "refuses the user|cannot be used"),
        (f"postgresql://isotherm:s3cr3t@127.0.0.1:{postgres.port}/none", "no database of this name"),
    ):
        with pytest.raises(Unavailable, match=words) as caught:
            PostgresQueue(url, Vault(bytes(32)), "host_a").open()
        assert "s3cr3t" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


def test_a_database_that_is_read_only_refuses_with_the_reason(shared: Shared) -> None:
    shared.host("host_a")
    shared.cluster.execute(f"ALTER DATABASE {shared.database} SET default_transaction_read_only = on")
    with pytest.raises(Unavailable, match="read-only"):
        shared.host("host_b")


def test_an_id_that_no_call_can_have_finds_none(host: Host) -> None:
    assert host.store.find("a\0b") is None
