"""The engine: snapshots for readers, turns for writers, and errors that say what to do."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import text

from isotherm.base.errors import Conflict, Invalid, Unavailable
from isotherm.db import engines
from isotherm.db.engine import Database
from tests.conftest import require
from tests.databases import Cluster, Databases, postgres_programs


@pytest.fixture
def database(tmp_path: Path, databases: Databases) -> Database:
    database = databases.open(tmp_path / "test.db")
    counted = "INTEGER PRIMARY KEY" if database.is_sqlite else "SERIAL PRIMARY KEY"
    with database.write() as session:
        session.execute(text(f"CREATE TABLE things (id {counted}, name TEXT NOT NULL)"))
    return database


def _count(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT count(*) FROM things")).scalar_one())


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_sqlite_is_durable_and_checks_foreign_keys(database: Database) -> None:
    with database.read() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_reader_sees_one_snapshot_while_others_write(database: Database) -> None:
    with database.read() as session:
        before = session.execute(text("SELECT count(*) FROM things")).scalar_one()
        with database.write() as writer:
            writer.execute(text("INSERT INTO things (name) VALUES ('new')"))
        assert session.execute(text("SELECT count(*) FROM things")).scalar_one() == before
    assert _count(database) == before + 1


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.execute(text("INSERT INTO things (name) VALUES ('lost')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _count(database) == 0


def test_writers_on_many_threads_queue(database: Database) -> None:
    def write() -> None:
        for _ in range(10):
            with database.write() as session:
                found = session.execute(text("SELECT count(*) FROM things")).scalar_one()
                session.execute(text("INSERT INTO things (id, name) VALUES (:id, 'x')"), {"id": found + 1})

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert _count(database) == 80


def test_a_writer_that_waits_too_long_is_told_so(tmp_path: Path, databases: Databases) -> None:
    database = databases.open(tmp_path / "test.db", write_timeout_s=0.05)
    entered, done = threading.Event(), threading.Event()

    def hold() -> None:
        with database.writing():
            entered.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    with pytest.raises(Unavailable, match="busy"), database.write():
        pass
    done.set()
    thread.join(10)


def test_what_the_database_refuses_is_unavailable_and_names_the_database(database: Database) -> None:
    with (
        pytest.raises(Unavailable, match=r"test.*failed: .*(no such table|does not exist)"),
        database.read() as session,
    ):
        session.execute(text("SELECT * FROM missing"))


def test_a_locked_file_is_unavailable(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db", busy_timeout_s=0.05)
    other = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/test.db", isolation_level="AUTOCOMMIT")
    with database.write() as session:
        session.execute(text("CREATE TABLE things (id INTEGER)"))
    with other.connect() as connection:
        connection.execute(text("BEGIN IMMEDIATE"))
        with pytest.raises(Unavailable, match="locked"), database.write() as session:
            session.execute(text("INSERT INTO things VALUES (1)"))
        connection.execute(text("ROLLBACK"))
    other.dispose()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)
def test_closing_folds_the_log_into_the_file(database: Database, tmp_path: Path) -> None:
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["test.db"]


@pytest.mark.parametrize("databases", ["postgres"], indirect=True)  # SQLite's driver raises before the database sees it
def test_what_a_column_cannot_hold_is_invalid(database: Database) -> None:
    with pytest.raises(Invalid, match="out of range"), database.write() as session:
        session.execute(text("INSERT INTO things (id, name) VALUES (9999999999, 'x')"))


@pytest.mark.parametrize(
    "url", ["nosuch://host/db", "mysql://u:secret@h/db", "postgresql+nosuchdriver://u:secret@h/db", "://"]
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Invalid, match="database URL") as caught:
        Database(url)
    assert "secret" not in caught.value.message


def test_the_name_of_a_database_tells_neither_place_nor_password(tmp_path: Path) -> None:
    assert Database(tmp_path / "x.db").name == "x.db"


@pytest.mark.parametrize("head", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgres_urls_are_taken_however_they_are_spelled(head: str, postgres: Cluster) -> None:
    database = Database(postgres.url("postgres").replace("postgresql", head, 1))
    with database.read() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Invalid, match=r"pip install 'isotherm\[postgres\]'") as caught:
        Database("postgres://u:secret@h/db")
    assert "secret" not in caught.value.message


def test_a_server_that_does_not_answer_or_has_no_such_database_is_unavailable(postgres: Cluster) -> None:
    for url, words in (
        ("postgresql://u:secret@127.0.0.1:1/db", "does not answer: start it"),
        (postgres.url("nowhere"), "no database of this name"),
    ):
        with pytest.raises(Unavailable, match=words) as caught, Database(url).read() as session:
            session.execute(text("SELECT 1"))
        assert "127.0.0.1" not in caught.value.message, "clients may see it"
        assert "secret" not in caught.value.message


@pytest.fixture
def place(postgres: Cluster) -> Iterator[str]:
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


def test_a_second_sole_writer_is_refused_until_the_first_is_gone(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_former_holder_s", 0.3)
    first, second = Database(place, sole_writer=True), Database(place, sole_writer=True)
    other_schema = Database(place, sole_writer=True, schema="records")
    for database in (first, other_schema):
        with database.write() as session:
            session.execute(text("SELECT 1"))
    refusal = r"another isotherm writes .*stop it, or name another database"
    with pytest.raises(Conflict, match=refusal), second.write() as session:
        session.execute(text("SELECT 1"))
    with second.read() as session:
        session.execute(text("SELECT 1"))
    first.close()
    with second.write() as session:
        session.execute(text("SELECT 1"))
    for database in (second, other_schema):
        database.close()


def test_a_sole_writer_goes_on_after_the_server_restarted_unless_another_came_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_former_holder_s", 0.3)
    programs = postgres_programs()
    require(programs is not None, "needs Postgres; Debian's package is postgresql")
    assert programs is not None
    cluster = Cluster(programs)  # its own: it is stopped
    first = Database(cluster.url("postgres"), sole_writer=True)
    second = Database(cluster.url("postgres"), sole_writer=True)

    def write(database: Database) -> None:
        with database.write() as session:
            session.execute(text("SELECT 1"))

    try:
        write(first)
        cluster.stop()
        with pytest.raises(Unavailable, match="it goes on by itself"):
            write(first)
        cluster.start()
        write(first)
        cluster.stop()
        cluster.start()
        write(second)
        with pytest.raises(Unavailable, match="another isotherm writes"):
            write(first)
    finally:
        first.close()
        second.close()
        cluster.remove()
