"""Migrations: they make what the rooms declare, run again harmlessly, and refuse what a newer version made."""

import importlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, Table, text
from sqlalchemy.schema import CreateIndex, CreateTable

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Unavailable
from isotherm.db.engine import Database
from isotherm.db.migrate import Family, upgrade
from isotherm.db.tables import control_tables, records_tables
from isotherm.events.service import EventLog
from tests.databases import Databases

rooms_with_tables = (
    "events.changes",
    "functions.store",
    "records.store",
    "tenancy.user_store",
    "tenancy.store",
    "workloads.rollout_store",
    "workloads.store",
)


def _declared(family: Family, database: Database) -> MetaData:
    for room in rooms_with_tables:
        importlib.import_module(f"isotherm.{room}")
    if family == "records":
        return records_tables
    log = EventLog(database, ManualClock())
    declared = MetaData()
    tables: list[Table] = [*control_tables.tables.values(), log._events.table, log._snapshots.table]
    for table in tables:
        table.to_metadata(declared)
    return declared


@pytest.fixture
def database(tmp_path: Path, databases: Databases) -> Database:
    return databases.open(tmp_path / "test.db")


def shape(database: Database) -> MetaData:
    """The tables as they are."""
    found = MetaData()
    with database.read() as session:
        found.reflect(session.connection())
    return found


def statements(database: Database) -> list[str]:
    """What would make each table as it is, and its indexes."""
    tables = shape(database).sorted_tables
    made = [str(CreateTable(table).compile(database.engine)) for table in tables]
    return made + sorted(
        str(CreateIndex(index).compile(database.engine)) for table in tables for index in table.indexes
    )


@pytest.mark.parametrize("family", ["control", "records"])
def test_the_migrated_schema_is_what_the_rooms_declare(family: Family, database: Database) -> None:
    upgrade(database, family)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, _declared(family, database))
    assert differences == []


@pytest.mark.parametrize("family", ["control", "records"])
def test_running_them_again_changes_nothing(family: Family, database: Database) -> None:
    upgrade(database, family)
    before = statements(database)
    upgrade(database, family)
    assert statements(database) == before


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    upgrade(database, "control")
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'c9999'"))
    with pytest.raises(Unavailable, match=r"test.* has the schema c9999.*newer version"):
        upgrade(database, "control")
    with database.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "c9999"


def test_the_two_families_do_not_mix(database: Database) -> None:
    upgrade(database, "records")
    with pytest.raises(Unavailable, match=r"r000\d"):
        upgrade(database, "control")


def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    with database.write() as session:
        session.execute(text("CREATE TABLE aliases (other TEXT)"))  # in the way of one of the last statements
    with pytest.raises(Unavailable, match="aliases"):
        upgrade(database, "control")
    assert list(shape(database).tables) == ["aliases"]
