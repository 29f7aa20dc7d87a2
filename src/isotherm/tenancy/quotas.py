"""Quotas: what a namespace may use, set by the platform's admins, seen by who may look into it. Thread-safe."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from isotherm.base.errors import Invalid
from isotherm.base.etags import check_etag
from isotherm.db.pages import Page
from isotherm.events.changes import note_change
from isotherm.events.service import EventLog
from isotherm.tenancy import store
from isotherm.tenancy.history import NamespaceHistory
from isotherm.tenancy.model import NamespaceQuota, Principal
from isotherm.tenancy.service import Tenancy
from isotherm.warming.budgets import namespace_budget
from isotherm.wire.quota import Quota, QuotaSpec, settled

__all__ = ["Quotas"]

_nothing_said = store.QuotaRow(quota=Quota(), version=0)


class Quotas:
    """`default` is the quota of a namespace of which nothing was said."""

    def __init__(self, *, log: EventLog, tenancy: Tenancy, default: Quota) -> None:
        self._log = log
        self._tenancy = tenancy
        self._default = default

    def set(self, principal: Principal, namespace: str, quota: Quota, *, if_match: str | None = None) -> NamespaceQuota:
        """Put the quota in place of the one that is there; hosts hold to it at once.

        Only admins of everywhere may: a tenant must not raise its own. Raises `Invalid`, `NotFound`, `Forbidden`,
        `PreconditionFailed` (it is not what the caller has seen).
        """
        self._tenancy.require(principal, "namespaces.read", namespace)
        self._tenancy.require(principal, "quotas.set")
        if quota.burst is not None and quota.rate_per_s is None:
            raise Invalid("burst is set without rate_per_s: there is no rate that it could exceed", key="burst")
        if quota.warm_budget is not None:
            _check_budget(quota.warm_budget)
        with self._log.transaction() as session:
            self._tenancy.existing_namespace(session, namespace)
            row = store.find_quotas(session, [namespace]).get(namespace, _nothing_said)
            check_etag(if_match, _etag(row))
            if quota == row.quota:
                return self._shown(namespace, row)
            history = self._log.load(session, NamespaceHistory, f"ns_{namespace}")
            history.set_quota(quota)
            row = store.QuotaRow(quota=quota, version=history.version)
            store.put_quota(session, namespace, row)
            note_change(session, "quota", namespace)
            self._log.save(session, history, by=principal.id, namespace=namespace)
        return self._shown(namespace, row)

    def get(self, principal: Principal, namespace: str) -> NamespaceQuota:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "quotas.read", namespace)
        with self._log.database.read() as session:
            self._tenancy.existing_namespace(session, namespace)
            row = store.find_quotas(session, [namespace]).get(namespace, _nothing_said)
        return self._shown(namespace, row)

    def page(self, principal: Principal, *, limit: int = 100, cursor: str | None = None) -> Page[NamespaceQuota]:
        """Those of the namespaces that the principal may look at, by name."""
        names = self._tenancy.namespaces(principal, limit=limit, cursor=cursor)
        seen = [each.name for each in names.items if self._tenancy.allows(principal, "quotas.read", each.name)]
        with self._log.database.read() as session:
            rows = store.find_quotas(session, seen)
        return Page([self._shown(name, rows.get(name, _nothing_said)) for name in seen], names.next_cursor)

    def specs(self, session: Session, namespaces: Sequence[str] | None = None) -> list[QuotaSpec]:
        """As hosts are told of them, in the snapshot of `session`: of these namespaces, or all."""
        rows = store.find_quotas(session, namespaces)
        return [QuotaSpec(namespace=name, quota=row.quota) for name, row in sorted(rows.items())]

    def limits(self, session: Session, namespace: str) -> Quota:
        """What holds for a namespace: for the rooms above, in their transactions."""
        row = store.find_quotas(session, [namespace]).get(namespace, _nothing_said)
        return settled(row.quota, self._default)

    def warm_budgets(self) -> dict[str, str]:
        """Of each namespace that has a budget for warmth of its own."""
        with self._log.database.read() as session:
            rows = store.find_quotas(session)
        return {name: row.quota.warm_budget for name, row in rows.items() if row.quota.warm_budget is not None}

    def log_limits(self) -> tuple[dict[str, int], int | None]:
        """How many bytes of log lines are kept of each namespace with a limit of its own; and of each other one."""
        with self._log.database.read() as session:
            rows = store.find_quotas(session)
        own = {name: row.quota.log_mb << 20 for name, row in rows.items() if row.quota.log_mb is not None}
        return own, None if self._default.log_mb is None else self._default.log_mb << 20

    def _shown(self, namespace: str, row: store.QuotaRow) -> NamespaceQuota:
        return NamespaceQuota(
            namespace=namespace, own=row.quota, limits=settled(row.quota, self._default), etag=_etag(row)
        )


def _check_budget(text: str) -> None:
    try:
        namespace_budget(text)
    except Invalid as error:
        raise Invalid(f"warm_{error.message}", key="warm_budget") from error


def _etag(row: store.QuotaRow) -> str:
    return f"quota-{row.version}"
