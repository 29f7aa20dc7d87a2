"""Every migration, up and down, with data in the tables, on both databases."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import MetaData, text

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Invalid, Unauthenticated
from isotherm.db.engine import Database
from isotherm.db.migrate import Family, migrate, revisions, schema_of, upgrade
from isotherm.events.rebuilding import check
from isotherm.maintenance.projections import PROJECTIONS
from isotherm.tenancy.model import Grant
from isotherm.wire.quota import Quota
from isotherm.workloads.rollout_model import RolloutPlan
from isotherm.workloads.settings_model import TagsSetting
from tests.databases import Databases
from tests.db.test_migrate import statements
from tests.house import House, house
from tests.records.test_decisions import receipt
from tests.records.test_records import batch, event, line, make_records, minute, record

__all__ = ["house"]


def rows(database: Database) -> dict[str, dict[str, list[Any]]]:
    """The columns of every table, but for those of Alembic's own."""
    tables = MetaData()
    with database.read() as session:
        tables.reflect(session.connection())
        tables.remove(tables.tables["alembic_version"])
        found = {}
        for table in tables.sorted_tables:
            stored = session.execute(sqlalchemy.select(table).order_by(*table.primary_key.columns)).mappings().all()
            found[table.name] = {column.name: [row[column.name] for row in stored] for column in table.c}
    return found


@pytest.fixture
def control(house: House) -> Database:
    """A control database with something in each table."""
    house.tenancy.create_namespace(house.admin, "team")
    house.tenancy.create_key(
        house.admin, "team", name="ci", role="viewer", expires_at_ms=2 * house.clock.time_ms(), description="for ci"
    )
    house.user("ann", Grant("team", "developer"))
    with pytest.raises(Unauthenticated):
        house.logins.login("ann", "wrong", address="198.51.100.7")
    house.tenancy.flush_uses()
    for number in range(60):  # enough for a snapshot
        house.deploy_ready("hello", memory_mb=64 + number, env={"A": "1"})
    house.rollouts.start(house.admin, "default", "hello", 59, RolloutPlan(strategy="canary"))
    house.secrets.set(house.admin, "default", "token", "abc")
    house.quotas.set(house.admin, "team", Quota(instances=3))
    house.deploy("other", memory_mb=99, secrets={"TOKEN": "token"})
    house.heads.change_setting(
        house.admin, "default", "other", None, TagsSetting, lambda _seen, _before: TagsSetting(tags={"a": "b"})
    )
    house.layer()
    house.sources.create(
        house.admin, "default", "other", None, source="arn", enabled=True, values={}, check=lambda _there: None
    )
    house.denials.note("pr_1", "functions.read", None)
    house.denials.note("pr_1", "functions.read", "team")
    return house.database


@pytest.fixture
def records(tmp_path: Path, databases: Databases) -> Database:
    made = make_records(databases, tmp_path, ManualClock())
    made.ingest(batch(1, invocations=[record(1)], logs=[line("one")], minutes=[minute(3)], events=[event(1)]))
    made.add_receipts([receipt(1)])
    made.keep_state("foresight", b"state", 1)
    return made._database


@pytest.mark.parametrize("family", ["control", "records"])
def test_each_step_down_and_up_again_keeps_what_both_schemas_have(
    family: Family, control: Database, records: Database
) -> None:
    database = control if family == "control" else records
    known = revisions(family)
    whole, shape = rows(database), statements(database)
    assert all(any(map(len, columns.values())) for columns in whole.values()), "something is in each table"
    kept = set(whole)  # a table that a step down drops is empty afterwards
    for newer, older in zip(reversed(known[1:]), reversed(known[:-1]), strict=True):
        before = rows(database)
        migrate(database, family, older)
        assert schema_of(database) == older
        below = rows(database)
        kept &= below.keys()
        for table, columns in below.items():
            for name, values in columns.items():
                assert values == before[table][name], f"{newer} → {older}: {table}.{name}"
    for newer in known[1:]:
        migrate(database, family, newer)
    assert schema_of(database) == known[-1]
    for table, columns in rows(database).items():
        assert columns == (whole[table] if table in kept else {name: [] for name in columns}), table
    assert statements(database) == shape


@pytest.mark.parametrize("family", ["control", "records"])
def test_down_to_nothing_leaves_nothing(family: Family, control: Database, records: Database) -> None:
    database = control if family == "control" else records
    migrate(database, family, "base")
    assert rows(database) == {}
    upgrade(database, family)
    assert all(not any(map(len, columns.values())) for columns in rows(database).values())


def test_a_schema_that_is_not_known_is_refused(control: Database) -> None:
    with pytest.raises(
        Invalid, match=r"no schema 'c9999' of control; there are c0001, c0002, c0003, c0004, c0005, c0006"
    ):
        migrate(control, "control", "c9999")


def test_what_was_there_before_the_chain_is_chained(house: House, control: Database) -> None:
    head = house.log.head()
    migrate(control, "control", "c0001")
    migrate(control, "control", "c0002")
    assert house.log.head() == head, "the same events have the same hashes"
    assert house.log.verify().ok


def test_times_that_were_some_milliseconds_apart_are_aligned(house: House, control: Database) -> None:
    migrate(control, "control", "c0001")
    with control.write() as session:
        for table, column in (("namespaces", "created"), ("keys", "created"), ("workloads", "updated")):
            session.execute(text(f"UPDATE {table} SET {column}_at_ms = {column}_at_ms + 3"))
    upgrade(control, "control")
    unlike = {difference.table for difference in check(house.log, PROJECTIONS).differences}
    later = {"secrets", "secret_uses", "rollouts", "quotas", "key_scopes", "users", "grants"}
    assert unlike <= later, "what came later went with its tables"


def test_totals_of_log_lines_are_counted_from_the_lines_that_are_there(records: Database) -> None:
    before = rows(records)["totals"]
    assert [name for name in before["name"] if name.startswith("logs:")] == ["logs:default"]
    migrate(records, "records", "r0001")
    with records.write() as session:
        session.execute(text("UPDATE totals SET value = value + 9 WHERE name LIKE 'logs:%'"))
    upgrade(records, "records")
    assert rows(records)["totals"] == before


def test_denials_that_made_room_before_the_chain_leave_a_chain(house: House, control: Database) -> None:
    migrate(control, "control", "c0001")
    with control.write() as session:
        session.execute(text("DELETE FROM events WHERE originator_id = 'access' AND originator_version = 1"))
    migrate(control, "control", "c0002")
    verdict = house.log.verify()
    assert verdict.ok, verdict.broken
    assert "access.forgotten" in house.kinds()


def test_keys_that_scopes_narrow_go_with_the_scopes(house: House, control: Database) -> None:
    """To an Isotherm that knows no scopes they would open all that their role does."""
    narrowed = house.tenancy.create_key(house.admin, "team", name="n", role="admin", scopes=["read"])
    version = house.feed.version()
    migrate(control, "control", "c0005")
    assert narrowed.key.id not in rows(control)["keys"]["id"]
    assert len(rows(control)["keys"]["id"]) >= 2, "the others stay"
    changed = rows(control)["desired_changes"]
    told = zip(changed["version"], changed["kind"], changed["item_id"], strict=True)
    assert ("key", narrowed.key.id) in {(kind, key) for number, kind, key in told if number > version}
