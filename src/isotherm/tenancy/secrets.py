"""The verbs of secrets. There is none that reads a value: it is sealed when it is set, and opened for hosts alone."""

import hmac

from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, Invalid, NotFound
from isotherm.base.etags import check_etag
from isotherm.base.ids import is_name
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.events.service import EventLog
from isotherm.tenancy import store
from isotherm.tenancy.history import SecretHistory
from isotherm.tenancy.model import Principal, Secret
from isotherm.tenancy.port import SecretUses
from isotherm.tenancy.sealed import SealedSecrets
from isotherm.tenancy.service import Tenancy

__all__ = ["MAX_SECRETS", "MAX_SECRET_BYTES", "Secrets"]

MAX_SECRET_BYTES = 48 * 1024
MAX_SECRETS = 500  # of one namespace


class Secrets:
    """Every verb checks its permission; all are thread-safe. `if_match` is the value of an If-Match header, or None."""

    def __init__(
        self, *, log: EventLog, tenancy: Tenancy, sealed: SealedSecrets, uses: SecretUses, clock: Clock
    ) -> None:
        self._log = log
        self._tenancy = tenancy
        self._sealed = sealed
        self._uses = uses
        self._clock = clock

    def set(
        self, principal: Principal, namespace: str, name: str, value: str, *, if_match: str | None = None
    ) -> tuple[Secret, bool]:
        """Make a secret, or give it another value; whether it is new. The value that it has already changes nothing.

        Raises `Invalid` (name, value; something that refers to it cannot take it), `Conflict` (too many),
        `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        self._tenancy.require(principal, "secrets.set", namespace)
        _check(name, value)
        with self._log.transaction() as session:
            self._tenancy.existing_namespace(session, namespace)
            found = store.find_secret(session, namespace, name)
            check_etag(if_match, None if found is None else found.etag)
            if found is not None and self._has(session, found, value):
                return self._shown(session, [found])[0], False
            if found is None and store.count_secrets(session, namespace) >= MAX_SECRETS:
                raise Conflict(f"the namespace {namespace!r} has {MAX_SECRETS} secrets; remove one first")
            row = self._put(session, principal, namespace, name, value, found)
            self._uses.changed(session, namespace, name)
            return self._shown(session, [row])[0], found is None

    def get(self, principal: Principal, namespace: str, name: str) -> Secret:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "secrets.read", namespace)
        with self._log.database.read() as session:
            return self._shown(session, [self._find(session, namespace, name)])[0]

    def page(
        self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Secret]:
        """The secrets of a namespace by name. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "secrets.read", namespace)
        after = "" if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._log.database.read() as session:
            self._tenancy.existing_namespace(session, namespace)
            rows = store.list_secrets(session, namespace, after=after, limit=clamp_limit(limit) + 1)
            found = self._shown(session, rows[:limit])
        return Page(found, encode_cursor(found[-1].name) if len(rows) > limit else None)

    def remove(
        self, principal: Principal, namespace: str, name: str, *, force: bool = False, if_match: str | None = None
    ) -> None:
        """With `force` also where something takes it: that goes on without the variable.

        Raises `Conflict` (something takes it), `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        self._tenancy.require(principal, "secrets.delete", namespace)
        with self._log.transaction() as session:
            row = self._find(session, namespace, name)
            check_etag(if_match, row.etag)
            (shown,) = self._shown(session, [row])
            if shown.used_by and not force:
                raise Conflict(
                    f"the secret {name!r} is used by {', '.join(shown.used_by)}: deploy that without it first, or "
                    "remove it by force (--force, ?force=true); it then goes on without the variable",
                    used_by=shown.used_by,
                )
            history = self._log.load(session, SecretHistory, _history_id(namespace, name))
            history.remove(still_used_by=shown.used_by)
            store.delete_secret(session, namespace, name)
            self._uses.changed(session, namespace, name)
            self._log.save(session, history, by=principal.id, namespace=namespace)

    def _put(
        self,
        session: Session,
        principal: Principal,
        namespace: str,
        name: str,
        value: str,
        found: store.SecretRow | None,
    ) -> store.SecretRow:
        history = self._log.load(session, SecretHistory, _history_id(namespace, name))
        version = history.set(namespace, name)
        now_ms = self._log.time_ms(session)
        row = store.SecretRow(
            namespace=namespace,
            name=name,
            version=version,
            value=self._sealed.seal(namespace, name, version, value),
            created_at_ms=now_ms if found is None else found.created_at_ms,
            updated_at_ms=now_ms,
        )
        store.put_secret(session, row)
        self._log.save(session, history, by=principal.id, namespace=namespace)
        return row

    def _has(self, session: Session, row: store.SecretRow, value: str) -> bool:
        present = self._sealed.values(session, row.namespace, [row.name])[row.name]
        return hmac.compare_digest(present.encode(), value.encode())

    def _find(self, session: Session, namespace: str, name: str) -> store.SecretRow:
        self._tenancy.existing_namespace(session, namespace)
        found = store.find_secret(session, namespace, name)
        if found is None:
            raise NotFound(f"there is no secret {name[:100]!r} in the namespace {namespace!r}", name=name[:100])
        return found

    def _shown(self, session: Session, rows: list[store.SecretRow]) -> list[Secret]:
        if not rows:
            return []
        users = self._uses.users(session, rows[0].namespace, [row.name for row in rows])
        return [
            Secret(
                namespace=row.namespace,
                name=row.name,
                version=row.version,
                created_at_ms=row.created_at_ms,
                updated_at_ms=row.updated_at_ms,
                used_by=users.get(row.name, []),
                etag=row.etag,
            )
            for row in rows
        ]


def _check(name: str, value: str) -> None:
    """Messages say nothing of the value but its size."""
    if not is_name(name):
        raise Invalid(
            f"{name[:100]!r} cannot name a secret: 1 to 63 lower-case letters, digits and hyphens, the first a letter, "
            "the last no hyphen",
            name=name[:100],
        )
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        raise Invalid(f"the value of the secret {name!r} is not text: it has half of a surrogate pair in it") from exc
    if not 0 < size <= MAX_SECRET_BYTES:
        raise Invalid(f"the value of the secret {name!r} has {size} bytes; it may have 1 to {MAX_SECRET_BYTES}")
    if "\x00" in value:
        raise Invalid(f"the value of the secret {name!r} has a zero byte in it, which no variable can hold")


def _history_id(namespace: str, name: str) -> str:
    return f"sec_{namespace}/{name}"
