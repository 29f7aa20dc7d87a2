"""Projections made anew from the log equal those that are there, row by row; what is unlike is told and mended."""

from collections.abc import Callable

import pytest
import sqlalchemy
from sqlalchemy import Table, text

from isotherm.base.errors import Unauthenticated, Unavailable
from isotherm.db.tables import control_tables, read_meta
from isotherm.events.rebuilding import Difference, Rebuilt, check, mend
from isotherm.maintenance.projections import CACHES, PROJECTIONS, RECORDS, forget_derived
from isotherm.tenancy.model import Grant
from isotherm.wire.quota import Quota
from isotherm.workloads import policy
from isotherm.workloads.model import Weight
from isotherm.workloads.rollout_model import Mark, RolloutPlan
from isotherm.workloads.settings_model import ReservedSetting
from tests.house import PASSWORD, House, house

__all__ = ["house"]


@pytest.fixture
def busy(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """A house with much in it, and much that was there and is gone."""
    monkeypatch.setattr(policy, "KEPT_REVISIONS", 4)
    monkeypatch.setattr(policy, "CALLABLE_REVISIONS", 2)
    for name in ("team", "gone", "back"):
        house.tenancy.create_namespace(house.admin, name)
        house.clock.advance(1.5)
    made = [house.tenancy.create_key(house.admin, "team", name=f"k{n}", role="developer") for n in range(4)]
    house.tenancy.revoke_key(house.admin, "team", made[0].key.id)
    narrowed = house.tenancy.create_key(house.admin, "team", name="n", role="viewer", scopes=["read"], description="d")
    house.clock.advance(1)
    house.tenancy.rotate_key(house.admin, "team", narrowed.key.id, overlap_s=60)
    ann, off, lost = (
        house.user(name, Grant("team", "viewer"), Grant("gone", "admin")) for name in ("ann", "off", "out")
    )
    house.clock.advance(1)
    house.logins.login("ann", PASSWORD, address="198.51.100.7")
    house.users.set_role(house.admin, "*", ann.principal_id, "admin")
    house.users.disable(house.admin, off.principal_id)
    house.users.delete(house.admin, lost.principal_id)
    house.users.reset(house.admin, house.users.invite(house.admin, "new", [Grant("back", "viewer")]).user.id)
    for memory_mb in range(64, 72):
        house.deploy_ready("many", "team", memory_mb=memory_mb, env={"A": str(memory_mb)}, public=memory_mb % 2 == 0)
        house.clock.advance(3)
    house.functions.set_alias(house.admin, "team", "many", "beta", [Weight(6, 0.5), Weight(8, 0.5)])
    house.functions.set_alias(house.admin, "team", "many", "old", [Weight(5, 1.0)])
    house.functions.delete_alias(house.admin, "team", "many", "old")
    house.functions.rollback(house.admin, "team", "many")
    for memory_mb in (64, 65):
        house.head_ready("mutable", "team", memory_mb=memory_mb)
        house.heads.publish(house.admin, "team", "mutable")
    house.heads.delete_version(house.admin, "team", "mutable", 1)
    house.heads.change_setting(
        house.admin, "team", "mutable", None, ReservedSetting, lambda _seen, _before: ReservedSetting(calls=3)
    )
    failed = house.deploy("many", "team", memory_mb=99).revision
    house.functions.mark_failed(failed.id, {"code": "import_failed", "detail": "no such module"})
    plan, mark = RolloutPlan(strategy="canary", steps=(20, 100), shadow=5), Mark(old_since=0, new_since=0)
    house.functions.set_alias(house.admin, "team", "many", "next", [Weight(7, 1.0)])
    first = house.rollouts.start(house.admin, "team", "many", 6, plan, alias="next")
    house.clock.advance(1)
    house.rollouts.step(first.id, 1, mark, None)
    house.clock.advance(1)
    house.rollouts.roll_back(first.id, "errors", None)
    open_one = house.rollouts.start(house.admin, "team", "many", 8, plan, alias="next")
    house.rollouts.step(open_one.id, 1, mark, None)
    house.rollouts.pause(house.admin, "team", "many", open_one.id)
    for quota in (Quota(instances=2), Quota(memory_mb=512), Quota()):
        house.quotas.set(house.admin, "team", quota)
        house.quotas.set(house.admin, "back", quota)
    house.quotas.set(house.admin, "team", Quota(instances=4, log_mb=1))
    for name in ("token", "gone", "back"):
        house.secrets.set(house.admin, "default", name, "first")
        house.clock.advance(1)
    house.secrets.set(house.admin, "default", "token", "second")
    house.secrets.remove(house.admin, "default", "gone")
    house.secrets.remove(house.admin, "default", "back")
    house.secrets.set(house.admin, "default", "back", "again")
    house.deploy("building", secrets={"TOKEN": "token", "SAME": "token"})
    house.deploy_ready("once")
    house.functions.delete(house.admin, "default", "once")
    house.deploy_ready("once", memory_mb=77)
    house.tenancy.delete_namespace(house.admin, "gone")
    house.tenancy.delete_namespace(house.admin, "back")
    house.clock.advance(5)
    house.tenancy.create_namespace(house.admin, "back")
    return house


def tables() -> list[Table]:
    return [table for room in PROJECTIONS for table in room.tables]


def everything(house: House) -> dict[str, list[tuple[object, ...]]]:
    with house.database.read() as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(table.select())), key=repr) for table in tables()
        }


def execute(house: House, statement: str) -> None:
    with house.database.write() as session:
        session.execute(text(statement))


def test_fresh_tables_equal_those_that_are_there(busy: House) -> None:
    found = check(busy.log, PROJECTIONS)
    assert found == Rebuilt(equal=True, rows=found.rows, differences=[], found=0)
    assert found.rows == {name: len(rows) for name, rows in everything(busy).items()}
    assert all(found.rows.values()), "each table has something in it"


@pytest.mark.parametrize(
    ("statement", "table", "what", "columns"),
    [
        ("UPDATE workloads SET latest = 1 WHERE name = 'many'", "workloads", "changed", ["latest"]),
        ("UPDATE workloads SET public = NOT public WHERE name = 'many'", "workloads", "changed", ["public"]),
        ("UPDATE revisions SET state = 'failed' WHERE state = 'building'", "revisions", "changed", ["state"]),
        ("UPDATE revisions SET callable = NOT callable WHERE state = 'building'", "revisions", "changed", ["callable"]),
        ("DELETE FROM aliases WHERE name = 'beta'", "aliases", "missing", []),
        ("INSERT INTO aliases SELECT workload_id, 'more', weights FROM aliases WHERE name = 'beta'", "aliases",
         "extra", []),
        ("UPDATE keys SET role = 'admin' WHERE name = 'k1'", "keys", "changed", ["role"]),
        ("INSERT INTO namespaces (name, created_at_ms) VALUES ('ghost', 1)", "namespaces", "extra", []),
        ("UPDATE key_scopes SET scopes = NULL WHERE key_id = (SELECT min(key_id) FROM key_scopes)", "key_scopes",
         "changed", ["scopes"]),
        ("UPDATE users SET state = 'active' WHERE name = 'off'", "users", "changed", ["state"]),
        ("UPDATE grants SET role = 'invoker' WHERE namespace = '*'", "grants", "changed", ["role"]),
        ("UPDATE quotas SET version = 1 WHERE namespace = 'team'", "quotas", "changed", ["version"]),
        ("DELETE FROM quotas WHERE namespace = 'team'", "quotas", "missing", []),
        ("UPDATE namespaces SET created_at_ms = 1 WHERE name = 'back'", "namespaces", "changed", ["created_at_ms"]),
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_told_and_mended(
    busy: House, statement: str, table: str, what: str, columns: list[str]
) -> None:
    before = everything(busy)
    execute(busy, statement)
    assert everything(busy) != before
    (difference,) = check(busy.log, PROJECTIONS).differences
    assert (difference.table, difference.what, difference.columns) == (table, what, columns)
    mended = mend(busy.log, PROJECTIONS, lambda session: forget_derived(busy.log, session))
    assert (mended.found, mended.mended) == (1, True)
    assert everything(busy) == before
    with busy.database.read() as session:
        assert read_meta(session, "epoch") is None, "hosts are told everything anew"
    assert check(busy.log, PROJECTIONS).equal


def test_tables_that_were_emptied_come_back_but_for_what_is_in_no_event(busy: House) -> None:
    before = everything(busy)
    for statement in (
        "DELETE FROM aliases",
        "UPDATE revisions SET state = 'building', callable = {false}, package = ''",
        "UPDATE workloads SET kind = '', version = 0, created_at_ms = 0, updated_at_ms = 0, latest = 0, route = NULL",
        "UPDATE keys SET namespace = '', role = '', principal_id = '', created_at_ms = 0",
        "UPDATE secrets SET version = 9, created_at_ms = 0, updated_at_ms = 0",
        "DELETE FROM secret_uses",
        "DELETE FROM quotas",
        "DELETE FROM rollouts",
    ):
        execute(busy, statement.replace("{false}", "0" if busy.database.is_sqlite else "false"))
    mend(busy.log, PROJECTIONS, lambda session: forget_derived(busy.log, session))
    assert everything(busy) == before
    busy.tenancy.authenticate(busy.tenancy.create_key(busy.admin, "team", name="new", role="viewer").token)


def test_a_key_whose_row_is_gone_is_lost_and_told(busy: House) -> None:
    token = busy.tenancy.create_key(busy.admin, "team", name="lost", role="viewer")
    execute(busy, "DELETE FROM keys WHERE name = 'lost'")
    found = mend(busy.log, PROJECTIONS, lambda session: forget_derived(busy.log, session))
    assert found.differences == [Difference(table="keys", key=[token.key.id], what="lost")]
    with pytest.raises(Unauthenticated):
        busy.tenancy.authenticate(token.token)


def test_a_secret_whose_row_is_gone_is_lost_and_told(busy: House) -> None:
    execute(busy, "DELETE FROM secrets WHERE name = 'token'")
    found = mend(busy.log, PROJECTIONS, lambda session: forget_derived(busy.log, session))
    assert found.differences == [Difference(table="secrets", key=["default", "token"], what="lost")]


def test_each_table_of_control_is_a_projection_a_record_or_a_cache() -> None:
    projected = {table.name for table in tables()}
    assert not projected & (set(RECORDS) | set(CACHES))
    assert projected | set(RECORDS) | set(CACHES) == {*control_tables.tables, "events", "snapshots"}


@pytest.mark.parametrize("events_first", [True, False])
def test_a_failure_before_the_commit_drops_events_and_projections(
    house: House, events_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever order they are written, and whichever of the two fails."""
    house.deploy_ready()
    before, told, head = everything(house), house.kinds(), house.log.head()
    original_save = house.log.save

    def save(*arguments: object, **options: object) -> None:
        if events_first:
            original_save(*arguments, **options)  # type: ignore[arg-type]  # as they came
        raise ZeroDivisionError  # after the events, or after the projections and before the events

    monkeypatch.setattr(house.log, "save", save)
    attempts: list[Callable[[], object]] = [
        lambda: house.tenancy.create_namespace(house.admin, "team"),
        lambda: house.tenancy.create_key(house.admin, "default", name="k", role="viewer"),
        lambda: house.deploy("hello", memory_mb=99),
        lambda: house.functions.delete(house.admin, "default", "hello"),
    ]
    for attempt in attempts:
        with pytest.raises(ZeroDivisionError):
            attempt()
        assert (everything(house), house.kinds(), house.log.head()) == (before, told, head)


def test_a_commit_that_the_database_refuses_drops_both(house: House) -> None:
    house.deploy_ready()
    before, told = everything(house), house.kinds()

    def refuse(*_: object) -> None:
        raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("the connection was lost"))

    sqlalchemy.event.listen(house.database.write_engine, "commit", refuse)
    try:
        with pytest.raises(Unavailable, match="connection was lost"):
            house.tenancy.create_namespace(house.admin, "team")
    finally:
        sqlalchemy.event.remove(house.database.write_engine, "commit", refuse)
    assert (everything(house), house.kinds()) == (before, told)
    house.tenancy.create_namespace(house.admin, "team")  # the connection is of use again
