"""The numbered log of changes to the desired state, written in the transactions of the commands that cause them.

It names only what changed (a revision, a route, a key or a quota); the feed (`workloads/desired.py`) reads what it is
now. Versions grow in the order of commits, since writers queue; none is ever used twice.
"""

import sqlalchemy
from sqlalchemy import Column, Table, Text
from sqlalchemy.orm import Session

from isotherm.db.tables import BigInt, control_tables
from isotherm.wire.desired import ItemKind

__all__ = ["KEPT_CHANGES", "desired_changes", "note_change", "take_noted"]

KEPT_CHANGES = 20_000  # a host that knows less than the oldest of them gets everything
_noted = "isotherm_desired_changed"

desired_changes = Table(
    "desired_changes",
    control_tables,
    Column("version", BigInt, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    sqlite_autoincrement=True,
)


def note_change(session: Session, kind: ItemKind, item_id: str, *, kept: int = KEPT_CHANGES) -> None:
    """Hosts have to hear of this item, once this transaction is committed."""
    insert = sqlalchemy.insert(desired_changes).values(kind=kind, item_id=item_id)
    version = session.execute(insert.returning(desired_changes.c.version)).scalar_one()
    session.info[_noted] = True
    if version % 1000 == 0:
        session.execute(sqlalchemy.delete(desired_changes).where(desired_changes.c.version <= version - kept))


def take_noted(session: Session) -> bool:
    """Whether this session has noted a change since this was last asked."""
    return bool(session.info.pop(_noted, False))
