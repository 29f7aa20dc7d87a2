"""Hosts that share a queue in Postgres: their stores alone, and what a test does to their leases."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from isotherm.queue.drivers.postgres import PostgresQueue
from isotherm.queue.drivers.sqlite import SqliteQueue
from isotherm.queue.model import AsyncCall, CallState, News, Outcome
from isotherm.storage.vault import Vault
from tests.databases import Cluster
from tests.queue.proxy import Proxy

__all__ = ["LEASE_S", "OK", "Host", "Shared", "SqliteHost", "shared", "until_now"]

LEASE_S = 10.0
WAIT_S = 20.0
OK = Outcome()
numbers = count(1)


class SqliteHost:
    """A store, and the seconds that pass for its host. Its transactions are made one by one."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self.now_s = 1000.0
        self.store: Any = SqliteQueue(path, vault)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        try:
            self.store.begin()
            yield self.store
            self.store.commit()
        except BaseException:
            self.store.rollback()
            raise

    def keep(self, seconds: float) -> None:
        """Time passes, and the host keeps its lease."""
        for _ in range(round(seconds * 2)):
            self.now_s += 0.5
            with self.writing():
                pass


class Host(SqliteHost):
    """One whose queue is in Postgres."""

    store: PostgresQueue

    def __init__(self, url: str, name: str, key: bytes) -> None:
        self.name = name
        self.now_s = 1000.0
        self.store = PostgresQueue(url, Vault(key), name, lease_s=LEASE_S, now=lambda: self.now_s)

    def accept(self, *, claimed: bool = False, name: str = "f", event: bytes = b"{}") -> AsyncCall:
        with self.writing():
            return self.accepted_in_transaction(claimed=claimed, name=name, event=event)

    def accepted_in_transaction(self, *, claimed: bool = True, name: str = "f", event: bytes = b"{}") -> AsyncCall:
        number = next(numbers)
        call = AsyncCall(
            id=f"call-{number:06}", namespace="default", name=name, event=event, accepted_at_ms=number, due_at_ms=number
        )
        self.store.insert(call, claimed=claimed)
        return call

    def claim(self, limit: int = 100, name: str = "f") -> list[AsyncCall]:
        with self.writing() as store:
            return store.claim("default", name, 10**15, limit)[0]

    def finish(self, call: AsyncCall, state: CallState = CallState.SUCCEEDED, then: AsyncCall | None = None) -> None:
        with self.writing() as store:
            store.finish(call, state, 1, OK, then)

    def news(self, limit: int = 100) -> News:
        with self.writing() as store:
            return store.news(limit, adopt=True)

    def ids(self, calls: list[AsyncCall]) -> list[str]:
        return [call.id for call in calls]


class Shared:
    """One queue, and the hosts on it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.database = cluster.create()
        self.hosts: list[Host] = []
        self.proxy = Proxy(cluster.port)

    def host(self, name: str, *, through_proxy: bool = False, key: bytes = bytes(32), opened: bool = True) -> Host:
        """A host that has opened the queue."""
        url = self.cluster.url(self.database)
        if through_proxy:
            url = url.replace(str(self.cluster.port), str(self.proxy.port))
        host = Host(url, name, key)
        self.hosts.append(host)
        if opened:
            host.store.open()
        return host

    def run_out(self, host: Host) -> None:
        """The host was not heard of for so long that its lease is over."""
        self.execute(
            f"UPDATE hosts SET expires_at = clock_timestamp() - interval '1 ms' WHERE host = '{host.name}'",
        )
        host.now_s += LEASE_S

    def execute(self, statement: str) -> list[Any]:
        return self.cluster.execute(f"SET search_path = isotherm_queue; {statement}", self.database)

    def ask(self, query: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.cluster.url(self.database), options="-c search_path=isotherm_queue") as connection:
            return connection.execute(query.encode()).fetchall()

    def states(self) -> dict[str, tuple[str, int]]:
        """Of each call: whose it is, and its state."""
        return {row[0]: (row[1], row[2]) for row in self.ask("SELECT id, host, state FROM calls")}

    def close(self) -> None:
        for host in self.hosts:
            host.store.close()
        self.proxy.close()
        self.cluster.drop(self.database)


def until_now(condition: Callable[[], object], what: str) -> None:
    """Poll: what is waited for happens in Postgres."""
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.02)


@pytest.fixture
def shared(postgres: Cluster) -> Iterator[Shared]:
    made = Shared(postgres)
    yield made
    made.close()
