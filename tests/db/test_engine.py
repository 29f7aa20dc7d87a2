"""The engine: snapshots for readers, turns for writers, and errors that say what to do."""

import threading
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import text

from isotherm.base.errors import Invalid, Unavailable
from isotherm.db.engine import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "test.db")
    with database.write() as session:
        session.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL)"))
    return database


def _count(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT count(*) FROM things")).scalar_one())


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


def test_a_writer_that_waits_too_long_is_told_so(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db", write_timeout_s=0.05)
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
    with pytest.raises(Unavailable, match=r"test\.db.*no such table"), database.read() as session:
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


def test_closing_folds_the_log_into_the_file(database: Database, tmp_path: Path) -> None:
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["test.db"]


@pytest.mark.parametrize("url", ["nosuch://host/db", "postgresql+nosuchdriver://u:secret@h/db", "://"])
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Invalid, match="database URL") as caught:
        Database(url)
    assert "secret" not in caught.value.message


def test_the_name_of_a_database_tells_neither_place_nor_password(tmp_path: Path) -> None:
    assert Database(tmp_path / "x.db").name == "x.db"
