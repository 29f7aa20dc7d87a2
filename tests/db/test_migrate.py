"""Migrations: they make what the rooms declare, run again harmlessly, and refuse what a newer version made."""

import importlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, Table, text

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Unavailable
from isotherm.db.engine import Database
from isotherm.db.migrate import Family, upgrade
from isotherm.db.tables import control_tables, records_tables
from isotherm.events.service import EventLog

rooms_with_tables = (
    "events.changes",
    "functions.store",
    "records.store",
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


@pytest.mark.parametrize("family", ["control", "records"])
def test_the_migrated_schema_is_what_the_rooms_declare(family: Family, tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db")
    upgrade(database, family)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, _declared(family, database))
    assert differences == []


@pytest.mark.parametrize("family", ["control", "records"])
def test_running_them_again_changes_nothing(family: Family, tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db")
    upgrade(database, family)
    with database.read() as session:
        before = session.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all()
    upgrade(database, family)
    with database.read() as session:
        assert session.execute(text("SELECT sql FROM sqlite_master ORDER BY name")).all() == before


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "control.db")
    upgrade(database, "control")
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'c9999'"))
    with pytest.raises(Unavailable, match=r"control\.db has the schema c9999.*newer version"):
        upgrade(database, "control")
    with database.read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "c9999"


def test_the_two_families_do_not_mix(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db")
    upgrade(database, "records")
    with pytest.raises(Unavailable, match="r0001"):
        upgrade(database, "control")


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(tmp_path / "test.db")
    with database.write() as session:
        session.execute(text("CREATE TABLE aliases (other TEXT)"))  # in the way of one of the last statements
    with pytest.raises(Unavailable, match="aliases"):
        upgrade(database, "control")
    with database.read() as session:
        assert session.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all() == [
            "aliases"
        ]
