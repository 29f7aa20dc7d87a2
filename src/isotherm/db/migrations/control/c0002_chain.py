"""Events get a hash chain; the times of projections become those of the events that they follow from."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "c0002"
down_revision = "c0001"
branch_labels = None
depends_on = None

_at_once = 1000
_genesis = bytes(32)
_events = sa.table(
    "events",
    sa.column("id", sa.BigInteger),
    sa.column("originator_id", sa.Text),
    sa.column("originator_version", sa.BigInteger),
    sa.column("topic", sa.Text),
    sa.column("state", sa.LargeBinary),
    sa.column("at_ms", sa.BigInteger),
    sa.column("principal_id", sa.Text),
    sa.column("namespace", sa.Text),
    sa.column("chain", sa.Text),
    sa.column("hash", sa.LargeBinary),
)


def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("chain", sa.Text, nullable=True))
        events.add_column(sa.Column("hash", sa.LargeBinary, nullable=True))
    _say_what_was_forgotten()
    _chain_what_is_there()
    with op.batch_alter_table("events") as events:
        events.alter_column("chain", existing_type=sa.Text, nullable=False)
        events.alter_column("hash", existing_type=sa.LargeBinary, nullable=False)
    op.create_index("events_chain_idx", "events", ["chain", "id"])
    _align_times()


def downgrade() -> None:
    op.drop_index("events_chain_idx", "events")
    with op.batch_alter_table("events") as events:
        events.drop_column("hash")
        events.drop_column("chain")


def _say_what_was_forgotten() -> None:
    """Denials that made room for newer ones before there was a chain: the oldest left follows nothing."""
    connection = op.get_bind()
    columns = (sa.func.min(_events.c.originator_version), sa.func.min(_events.c.at_ms))
    oldest, at_ms = connection.execute(sa.select(*columns).where(_events.c.originator_id == "access")).one()
    if oldest is None or oldest == 1:
        return
    fact = {"type": "access.forgotten", "through": oldest - 1, "hash": _genesis.hex()}
    connection.execute(
        sa.insert(_events).values(
            originator_id="access_forgotten",
            originator_version=1,
            topic="access.forgotten",
            state=json.dumps(fact, separators=(",", ":")).encode(),
            at_ms=at_ms,
            principal_id="system",
            namespace=None,
        )
    )


def _chain_what_is_there() -> None:
    connection = op.get_bind()
    heads = {"log": _genesis, "denials": _genesis}
    last = 0
    link = sa.update(_events).where(_events.c.id == sa.bindparam("event_id"))
    while True:
        query = sa.select(_events).where(_events.c.id > last).order_by(_events.c.id).limit(_at_once)
        rows = connection.execute(query).all()
        if not rows:
            return
        links = []
        for row in rows:
            chain = "denials" if row.originator_id == "access" else "log"
            heads[chain] = _hash(heads[chain], row)
            links.append({"event_id": row.id, "new_chain": chain, "new_hash": heads[chain]})
        connection.execute(link.values(chain=sa.bindparam("new_chain"), hash=sa.bindparam("new_hash")), links)
        last = rows[-1].id


def _hash(previous: bytes, row: sa.Row[Any]) -> bytes:
    """As `isotherm.events.chain` made it when this migration was written."""
    fields = [row.originator_id, str(row.originator_version), row.topic, bytes(row.state), str(row.at_ms)]
    fields += [row.principal_id, row.namespace]
    return hashlib.sha256(previous + b"".join(map(_netstring, fields))).digest()


def _netstring(field: str | bytes | None) -> bytes:
    if field is None:
        return b"-"
    content = field.encode() if isinstance(field, str) else field
    return b"%d:%b," % (len(content), content)


def _align_times() -> None:
    """They were taken some milliseconds apart."""
    for table, column, condition in (
        ("namespaces", "created_at_ms", "e.originator_id = 'ns_' || namespaces.name AND e.topic = 'namespace.created'"),
        ("keys", "created_at_ms", "e.originator_id = keys.id AND e.originator_version = 1"),
        ("workloads", "created_at_ms", "e.originator_id = workloads.id AND e.originator_version = 1"),
        ("workloads", "updated_at_ms", "e.originator_id = workloads.id AND e.originator_version = workloads.version"),
    ):
        found = f"SELECT e.at_ms FROM events e WHERE {condition} ORDER BY e.originator_version DESC LIMIT 1"  # noqa: S608
        op.execute(f"UPDATE {table} SET {column} = coalesce(({found}), {column})")  # noqa: S608 (constants alone)
