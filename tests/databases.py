"""The databases that tests run on: SQLite in a folder, and a real Postgres of this run's own.

Tests that take the fixture `databases` run on both. `databases.url(path)` stands for the file `path`: on Postgres it is
a database made for it, the same one for the same path, and dropped after the test.
"""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from isotherm.db.engine import Database

__all__ = ["Cluster", "Databases", "databases", "postgres"]

_start_s = 60.0


@cache
def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, of the newest version; Debian keeps them out of PATH."""
    found = [Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    elsewhere = shutil.which("initdb")
    return None if elsewhere is None else Path(elsewhere).resolve().parent


class Cluster:
    """A Postgres of this run's own, on a free port of loopback, without fsync unless it is to be `durable`.

    It refuses to run as root: `postgres` or `nobody` runs it then.
    """

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        self._programs = programs
        self._sync = "on" if durable else "off"
        self.folder = Path(tempfile.mkdtemp(prefix="isotherm-postgres-", dir="/tmp"))
        self._as = _unprivileged()
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "isotherm", "-E", "UTF8", "--locale=C", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._names = iter(range(10**9))
        self.start()

    def start(self) -> None:
        """Returns once it answers."""
        argv = [str(self._programs / "postgres"), "-D", self._data, "-p", str(self.port), "-k", str(self.folder)]
        settings = {
            "listen_addresses": "127.0.0.1",
            "fsync": self._sync,
            "full_page_writes": self._sync,
            "max_connections": "200",
        }
        argv += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._as)
        deadline = time.monotonic() + _start_s
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception as exc:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()[-4000:]) from exc
                time.sleep(0.05)

    def stop(self) -> None:
        """At once, as a crash would: connections are cut, and the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def create(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{next(self._names)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self, database: str) -> str:
        return f"postgresql://isotherm@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        argv = [str(self._programs / program), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, cwd="/", check=False, **self._as)
        assert done.returncode == 0, done.stderr


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    names = {account.pw_name: account for account in pwd.getpwall()}
    account = names.get("postgres") or names["nobody"]
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class Databases:
    """Where a test keeps its state, on one of the two kinds."""

    def __init__(self, kind: str, cluster: Cluster | None) -> None:
        self.kind = kind
        self._cluster = cluster
        self._made: dict[Path, str] = {}
        self._opened: list[Database] = []

    def url(self, path: Path) -> str:
        if self._cluster is None:
            return f"sqlite:///{path}"
        if path not in self._made:
            self._made[path] = self._cluster.create()
        return self._cluster.url(self._made[path])

    def open(self, path: Path, **options: Any) -> Database:
        self._opened.append(Database(self.url(path), **options))
        return self._opened[-1]

    def close(self) -> None:
        for database in self._opened:
            database.close()
        for name in self._made.values():
            assert self._cluster is not None
            self._cluster.drop(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One cluster for this run (one for each worker of pytest-xdist)."""
    from tests.conftest import require  # which imports this module for its fixtures

    programs = postgres_programs()
    require(programs is not None, "needs Postgres; Debian's package is postgresql")
    assert programs is not None
    cluster = Cluster(programs)
    yield cluster
    cluster.remove()


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    cluster = request.getfixturevalue("postgres") if request.param == "postgres" else None
    made = Databases(request.param, cluster)
    yield made
    made.close()
