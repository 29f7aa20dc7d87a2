"""What the queue's database may be, and what is told of a URL that cannot be used."""

import importlib.util

import pytest

from isotherm.base.errors import Invalid, IsothermError
from isotherm.base.settings import Settings
from isotherm.storage.postgres import connect, libpq_url, queue_url
from isotherm.storage.queue_facts import queue_facts
from isotherm.storage.queue_tables import prepare_postgres
from tests.databases import Cluster

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"database": "postgres://me@h/db"}, None),
        ({"queue_database": "postgres://me@h/db?sslmode=require"}, "postgresql://me@h/db?sslmode=require"),
        ({"queue_database": "database", "database": "postgresql+psycopg://me:p%40@h:5/db"}, "postgresql://me:p%40@h:5/db"),
        ({"queue_database": "postgresql://h/q", "database": "sqlite:////x.db"}, "postgresql://h/q"),
    ],
)  # fmt: skip
def test_the_queue_is_where_the_operator_says_and_nowhere_else(settings: dict[str, str], url: str | None) -> None:
    assert queue_url(Settings(**settings)) == url


@pytest.mark.parametrize(
    "settings",
    [
        {"queue_database": "database"},
        {"queue_database": "database", "database": f"sqlite:////{SECRET}.db"},
        {"queue_database": f"mysql://me:{SECRET}@h/db"},
        {"queue_database": f"postgres:{SECRET}"},
        {"queue_database": f"{SECRET}@h/db"},
        {"queue_database": "postgres://"},
    ],
)
def test_what_is_no_postgres_is_refused_without_telling_a_password(settings: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=r"--queue-database|postgresql://user@host/database") as caught:
        queue_url(Settings(**settings))
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("rest", [f"me:{SECRET}%@h/db", f"me:{SECRET}%zz@h/db", f"h/db?passwort={SECRET}"])
def test_a_url_that_libpq_cannot_read_is_told_without_its_password(rest: str) -> None:
    with pytest.raises(Invalid, match="cannot be read: characters like @ and %") as caught:
        connect(libpq_url(f"postgres://{rest}"), name="test")
    assert SECRET not in caught.value.message


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Invalid, match=r"pip install 'isotherm\[postgres\]'"):
        queue_url(Settings(queue_database="postgres://h/db"))


def test_facts_are_those_of_the_server(postgres: Cluster) -> None:
    database = postgres.create()
    before = queue_facts(postgres.url(database))
    assert (before.problem, before.version, before.hosts, before.fsync) == (None, None, 0, False)
    with connect(postgres.url(database), name="test", options={"search_path": "isotherm_queue"}) as connection:
        prepare_postgres(connection)
        connection.execute("INSERT INTO hosts VALUES ('a', 1, clock_timestamp() + interval '1 hour')")
        connection.execute("INSERT INTO hosts VALUES ('b', 1, clock_timestamp() - interval '1 hour')")
        after = queue_facts(postgres.url(database))
        assert (after.problem, after.version, after.hosts) == (None, 1, 1)
        connection.execute("UPDATE meta SET value = '9' WHERE name = 'version'")
    assert "newer Isotherm" in (queue_facts(postgres.url(database)).problem or "")
    postgres.execute("CREATE ROLE stranger LOGIN")
    other = postgres.create()
    stranger = postgres.url(other).replace("isotherm@", "stranger@")
    assert "may not make the schema" in (queue_facts(stranger).problem or "")
    with pytest.raises(IsothermError, match="no database of this name"):
        queue_facts(postgres.url("none"))
    postgres.execute("DROP ROLE stranger")
    for each in (database, other):
        postgres.drop(each)
