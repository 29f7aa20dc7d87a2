"""The queue in an archive: from either kind to either, with all that is in it; nothing where the import fails."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.errors import Conflict, Unavailable
from isotherm.maintenance.queues import placed_queue, read_queue, refuse_queue, write_queue
from isotherm.queue.model import AsyncCall, CallRow, CallState, Outcome
from isotherm.queue.port import QueueStore
from isotherm.storage.vault import Vault
from tests.databases import Cluster
from tests.queue.hosts import LEASE_S, Host, SqliteHost

KEY = bytes(range(32))


class Place:
    """A data folder, and for a queue in Postgres a database."""

    def __init__(self, folder: Path, cluster: Cluster | None) -> None:
        self.folder = folder
        self.cluster = cluster
        self.database = "" if cluster is None else cluster.create()
        self.url = None if cluster is None else cluster.url(self.database)

    def host(self, name: str = "host_a") -> Host | SqliteHost:
        (self.folder / "host").mkdir(exist_ok=True)
        if self.url is None:
            return SqliteHost(self.folder / "host" / "queue.db", Vault(KEY))
        return Host(self.url, name, KEY)

    def exported(self) -> tuple[bytes, str | None]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            sha256 = write_queue(archive, self.folder, self.url)
        return out.getvalue(), sha256

    def imported(self, exported: tuple[bytes, str | None], fail: bool = False) -> None:
        content, sha256 = exported
        refuse_queue(self.folder, self.url)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            fresh = None if sha256 is None else read_queue(archive, self.folder, sha256)
            with placed_queue(fresh, self.folder, self.url):
                if fail:
                    raise ZeroDivisionError


Places = Callable[[str], Place]


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    made: list[Place] = []

    def place(kind: str) -> Place:
        folder = tmp_path / f"place-{len(made)}"
        folder.mkdir()
        made.append(Place(folder, request.getfixturevalue("postgres") if kind == "postgres" else None))
        return made[-1]

    yield place
    for each in made:
        if each.cluster is not None:
            each.cluster.drop(each.database)


def fill(host: Host | SqliteHost) -> None:
    """Calls in each state, a function that is held back, a trigger that has come somewhere."""
    calls = [
        AsyncCall(
            id=f"c{n}", namespace="default", name="f", event=b'"s3cr3t"', accepted_at_ms=n, due_at_ms=n, origin="o"
        )
        for n in range(1, 7)
    ]
    with host.writing() as store:
        for number, call in enumerate(calls):
            store.insert(call, claimed=number > 0)
    with host.writing() as store:
        store.finish(calls[2], CallState.SUCCEEDED, 50, Outcome(result=b"7"), None)
        store.finish(calls[3], CallState.DEAD, 51, Outcome(condition="RetriesExhausted", error_message="s3cr3t"), None)
        calls[4].attempts = 2
        store.postpone(calls[4], Outcome(error_message="again"))
        store.pause("default", "f", paused=True)
        assert store.move("cron x", 77, None)
    dead = host.store.find("c4")
    assert dead is not None
    with host.writing() as store:
        assert store.redrive(dead, AsyncCall(id="again", namespace="default", name="f", accepted_at_ms=9, due_at_ms=9))


def content(store: QueueStore) -> dict[str, CallRow]:
    rows = [row for _, row in store.page("default", None, None, None, 100)]
    for row in rows:
        row.call.claim = 0
    return {row.call.id: row for row in rows}


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_calls_move_from_either_kind_of_queue_to_either(source: str, target: str, places: Places) -> None:
    old, new = places(source), places(target)
    before = old.host()
    before.store.open()
    fill(before)
    exported = old.exported()  # beside a host that has it open
    assert b"s3cr3t" not in exported[0]
    was = content(before.store)
    before.store.close()
    new.imported(exported)
    after = new.host("host_new")
    after.store.open()
    after.keep(LEASE_S + 1)
    with after.writing() as store:
        store.news(100, adopt=True)
    found = content(after.store)
    assert found.keys() == was.keys() == {"c1", "c2", "c3", "c4", "c5", "c6", "again"}
    for one, row in found.items():
        expected = CallState.QUEUED if was[one].state == CallState.CLAIMED else was[one].state
        assert row.state == expected
        assert (row.call, row.outcome, row.finished_at_ms, row.redriven_to) == (
            was[one].call, was[one].outcome, was[one].finished_at_ms, was[one].redriven_to,
        )  # fmt: skip
    with after.writing() as store:
        assert store.position("cron x") == 77
        assert store.paused() == [("default", "f")]
        claimed, _ = store.claim("default", "f", 10**15, 100)
        assert [call.id for call in claimed] == ["c1", "c2", "c5", "c6", "again"]
        assert claimed[2].attempts == 2
        store.insert(AsyncCall(id="new", namespace="default", name="f"), claimed=False)  # numbers go on
        assert store.used_bytes() > 0
    numbers = [number for number, _ in after.store.page("default", None, None, None, 100)]
    assert len(set(numbers)) == 8
    with pytest.raises(Conflict, match="not empty"):
        new.imported(exported)
    after.store.close()


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_an_import_that_fails_leaves_no_calls(target: str, places: Places) -> None:
    old, new = places("postgres"), places(target)
    before = old.host()
    before.store.open()
    fill(before)
    before.store.close()
    exported = old.exported()
    with pytest.raises(ZeroDivisionError):
        new.imported(exported, fail=True)
    assert [path.name for path in new.folder.rglob("*queue*")] == []
    new.imported(exported)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_queue_that_was_never_made_is_no_part_of_an_archive(kind: str, places: Places) -> None:
    assert places(kind).exported()[1] is None


def test_a_database_that_is_away_says_so(places: Places) -> None:
    place: Any = places("sqlite")
    place.url = "postgresql://me:s3cr3t@127.0.0.1:1/db"
    with pytest.raises(Unavailable, match="Postgres does not answer") as caught:
        place.exported()
    assert "s3cr3t" not in str(caught.value)
