"""The feed of desired state: what a host is told to serve, whole or since a version."""

from collections.abc import Callable
from typing import get_args

import sqlalchemy
from sqlalchemy.orm import Session

from isotherm.base.ids import new_id
from isotherm.db.tables import read_meta, write_meta
from isotherm.events.changes import desired_changes
from isotherm.events.service import EventLog
from isotherm.tenancy.quotas import Quotas
from isotherm.tenancy.service import Tenancy
from isotherm.tenancy.signing import Signing
from isotherm.tenancy.users import Users
from isotherm.wire.desired import DESIRED_FORMAT, Desired, Item, ItemKind, Removed, item_id
from isotherm.workloads import store
from isotherm.workloads.service import Workloads

__all__ = ["DesiredFeed"]

_epoch = "epoch"


class DesiredFeed:
    """Reads what commands have committed. Applying `desired(v)` to the state of version v gives `full()`. Thread-safe.

    Keys, quotas and users who may log in are always there, routes once a revision is live, revisions once they are
    ready and as long as they can be called. An item that changed often since is told once, as it is now. A database
    that is new has an epoch of its own.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        tenancy: Tenancy,
        users: Users,
        signing: Signing,
        quotas: Quotas,
        workloads: Workloads,
    ) -> None:
        self._log = log
        self._tenancy = tenancy
        self._users = users
        self._signing = signing
        self._quotas = quotas
        self._workloads = workloads
        with log.transaction() as session:
            epoch = read_meta(session, _epoch)
            if epoch is None:
                epoch = new_id("epoch")
                write_meta(session, _epoch, epoch)
        self.epoch = epoch

    def version(self) -> int:
        """The version of the newest change."""
        with self._log.database.read() as session:
            return _newest(session)

    def full(self) -> Desired:
        """Everything, in the order revisions, routes, keys, quotas, users, keys that sign."""
        with self._log.database.read() as session:
            return self._full(session, _newest(session))

    def desired(self, epoch: str | None, version: int) -> Desired:
        """What changed after `version`, maybe nothing; everything where that is too long ago, or another epoch's."""
        with self._log.database.read() as session:
            newest = _newest(session)
            if epoch != self.epoch or not _oldest(session) - 1 <= version <= newest:
                return self._full(session, newest)
            return self._delta(session, version, newest)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit that changed desired state, on the thread of that command; it must not
        block. Returns what takes it off again."""
        return self._log.on_desired_change(callback)

    def _full(self, session: Session, version: int) -> Desired:
        items = self._items(session, None)
        return Desired(epoch=self.epoch, version=version, full=True, items=items, format=DESIRED_FORMAT)

    def _delta(self, session: Session, version: int, newest: int) -> Desired:
        changed: dict[ItemKind, list[str]] = {kind: [] for kind in get_args(ItemKind)}
        columns = (desired_changes.c.kind, desired_changes.c.item_id)
        query = sqlalchemy.select(*columns).where(desired_changes.c.version > version).distinct()
        for row in session.execute(query.order_by(*columns)):
            changed[row.kind].append(row.item_id)
        items = self._items(session, changed)
        present = {item_id(item) for item in items}
        removed = [Removed(kind, one) for kind, ids in changed.items() for one in ids if (kind, one) not in present]
        return Desired(epoch=self.epoch, version=newest, full=False, items=items, removed=removed)

    def _items(self, session: Session, ids: dict[ItemKind, list[str]] | None) -> list[Item]:
        """Those with these ids, or (None) all."""
        of = ids.get if ids is not None else lambda _: None
        return [
            *(
                Item(revision=self._workloads.opened(session, one))
                for one in store.list_callable(session, of("revision"))
            ),
            *(Item(route=route) for route in store.list_routes(session, of("route"))),
            *(Item(key=key) for key in self._tenancy.key_specs(session, of("key"))),
            *(Item(quota=quota) for quota in self._quotas.specs(session, of("quota"))),
            *(Item(user=user) for user in self._users.specs(session, of("user"))),
            *(Item(token_key=token_key) for token_key in self._signing.specs(session, of("token_key"))),
        ]


def _newest(session: Session) -> int:
    return session.execute(sqlalchemy.select(sqlalchemy.func.max(desired_changes.c.version))).scalar_one() or 0


def _oldest(session: Session) -> int:
    """The oldest change that is kept; 1 where none ever was."""
    return session.execute(sqlalchemy.select(sqlalchemy.func.min(desired_changes.c.version))).scalar_one() or 1
