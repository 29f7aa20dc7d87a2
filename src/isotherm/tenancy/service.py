"""The verbs of tenancy. Every command checks its permission and records who did it; all are thread-safe."""

import secrets

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from isotherm.base.ids import is_name, new_id, new_token, token_digest
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.db.tables import read_meta, write_meta
from isotherm.events.changes import note_change
from isotherm.events.denials import Denials
from isotherm.events.service import EventLog
from isotherm.sigv4.secrets import KeySecrets, open_key_secrets, seal_key_secrets
from isotherm.storage.vault import Vault
from isotherm.tenancy import policy, store
from isotherm.tenancy.history import KeyHistory, NamespaceHistory
from isotherm.tenancy.model import (
    DEFAULT_NAMESPACE,
    EVERYWHERE,
    SYSTEM,
    Grant,
    Key,
    Namespace,
    NewKey,
    Permission,
    Principal,
)
from isotherm.wire.desired import GrantSpec, KeySpec, Role

__all__ = ["Tenancy"]

_bootstrap_key = "bootstrap_key"
_all_keys = 1_000_000


class Tenancy:
    """Who may do what. `denials` records what is refused."""

    def __init__(self, *, log: EventLog, denials: Denials, vault: Vault, clock: Clock) -> None:
        self._log = log
        self._database = log.database
        self._denials = denials
        self._vault = vault
        self._clock = clock

    def authenticate(self, token: str) -> Principal:
        """Whose bearer token this is. Raises `Unauthenticated` where it is unknown, revoked or expired."""
        with self._database.read() as session:
            row = store.find_key_by_digest(session, token_digest(token))
        return self._holder(row)

    def authenticate_signer(self, key_id: str) -> Principal:
        """Whose key this is, of which the gateway says that it signed a request. Raises as `authenticate`."""
        with self._database.read() as session:
            row = store.find_key(session, key_id)
        return self._holder(row)

    def _holder(self, row: store.KeyRow | None) -> Principal:
        if row is None:
            self._denials.note("anonymous", "authenticate", None)
            raise Unauthenticated("this key is not known: it is mistyped, or was revoked")
        if row.key.expires_at_ms is not None and row.key.expires_at_ms <= self._clock.time_ms():
            self._denials.note(row.key.principal_id, "authenticate", row.key.namespace)
            raise Unauthenticated("this key has expired; ask an admin of its namespace for another")
        return Principal(
            id=row.key.principal_id,
            grants=(Grant(row.key.namespace, row.key.role),),
            home_namespace=_home(row.key),
        )

    def require(self, principal: Principal, permission: Permission, namespace: str | None = None) -> None:
        """Check that `principal` may do this in `namespace` (None: on the platform as a whole).

        Raises `NotFound` where the principal has no role in that namespace (it looks like one that does not
        exist) and `Forbidden` where its roles do not suffice. Either is recorded in the audit log, bounded.
        """
        verdict = policy.judge(principal.grants, permission, namespace)
        if verdict == "allowed":
            return
        self._denials.note(principal.id, permission, namespace)
        if verdict == "hidden":
            raise _no_namespace(str(namespace))
        where = "on the platform" if namespace is None else f"in the namespace {namespace!r}"
        roles = sorted(role for role, allowed in policy.PERMISSIONS.items() if permission in allowed)
        raise Forbidden(
            f"this key may not do that {where}: {permission} takes the role {' or '.join(roles)}",
            permission=permission,
            namespace=namespace,
        )

    def allows(self, principal: Principal, permission: Permission, namespace: str | None = None) -> bool:
        """As `require`, but only tells and records nothing."""
        return policy.judge(principal.grants, permission, namespace) == "allowed"

    def bootstrap_admin(self) -> NewKey:
        """The admin's key made at the first start, with the namespace `default`; each later start gives the same one.

        It is kept encrypted. Raises `Unavailable` where the master key is not the one it was sealed with.
        """
        with self._log.transaction() as session:
            key_id = read_meta(session, _bootstrap_key)
            row = None if key_id is None else store.find_key(session, key_id)
            if row is not None:
                kept = open_key_secrets(self._vault, row.key.id, row.secrets)
                return NewKey(key=row.key, token=kept.token or "", secret_access_key=kept.secret_access_key)
            if store.find_namespace(session, DEFAULT_NAMESPACE) is None:
                self._make_namespace(session, SYSTEM, DEFAULT_NAMESPACE)
            made = self._make_key(session, SYSTEM, EVERYWHERE, "bootstrap admin", "admin", None, keep_token=True)
            write_meta(session, _bootstrap_key, made.key.id)
            return made

    def create_namespace(self, principal: Principal, name: str) -> Namespace:
        """Raises `Invalid` on a bad name, `Conflict` where it exists, `Forbidden`."""
        self.require(principal, "namespaces.create")
        if not is_name(name):
            raise Invalid(
                f"{name[:100]!r} cannot name a namespace: 1 to 63 lower-case letters, digits and hyphens, "
                "the first a letter, the last no hyphen",
                name=name[:100],
            )
        with self._log.transaction() as session:
            return self._make_namespace(session, principal, name)

    def namespace(self, principal: Principal, name: str) -> Namespace:
        """Raises `NotFound`."""
        self.require(principal, "namespaces.read", name)
        with self._database.read() as session:
            return self.existing_namespace(session, name)

    def existing_namespace(self, session: Session, name: str) -> Namespace:
        """For the rooms above, in their transactions. Raises `NotFound`."""
        found = store.find_namespace(session, name)
        if found is None:
            raise _no_namespace(name)
        return found

    def namespaces(self, principal: Principal, *, limit: int = 100, cursor: str | None = None) -> Page[Namespace]:
        """The namespaces in which the principal has a role, by name."""
        self.require(principal, "platform.read")
        granted = [grant.namespace for grant in principal.grants]
        only = None if EVERYWHERE in granted else granted
        after = None if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._database.read() as session:
            found = store.list_namespaces(session, only=only, after=after, limit=clamp_limit(limit) + 1)
        return Page(found[:limit], encode_cursor(found[limit - 1].name) if len(found) > limit else None)

    def delete_namespace(self, principal: Principal, name: str) -> None:
        """Delete an empty namespace and revoke its keys. Raises `NotFound`, `Forbidden`, `Conflict` (not empty)."""
        self.require(principal, "namespaces.read", name)
        self.require(principal, "namespaces.delete")
        if name == DEFAULT_NAMESPACE:
            raise Conflict(f"the namespace {name!r} cannot be deleted: unqualified names are looked up in it")
        with self._log.transaction() as session:
            history = self._log.load(session, NamespaceHistory, f"ns_{name}")
            if history.state.quota is not None:
                note_change(session, "quota", name)
            history.delete(name)
            try:
                store.delete_namespace(session, name)
            except IntegrityError as exc:
                raise Conflict(
                    f"the namespace {name!r} is not empty; delete its functions and secrets first", namespace=name
                ) from exc
            for row in store.list_keys(session, namespace=name, limit=_all_keys):
                self._end_key(session, principal, row.key, "its namespace was deleted")
            self._log.save(session, history, by=principal.id, namespace=name)

    def create_key(
        self, principal: Principal, namespace: str, *, name: str, role: Role, expires_at_ms: int | None = None
    ) -> NewKey:
        """A key for a new principal with `role` in `namespace` (`*`: everywhere; only for admins of everywhere).

        Raises `NotFound`, `Forbidden`, `Invalid` (name of 1 to 100 characters; an expiry that is past).
        """
        self.require(principal, "keys.create", _place(namespace))
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise Invalid("the name of a key is 1 to 100 printable characters", name=name[:100])
        if expires_at_ms is not None and expires_at_ms <= self._clock.time_ms():
            raise Invalid(
                "the key would have expired already; expires_at_ms is in the past", expires_at_ms=expires_at_ms
            )
        with self._log.transaction() as session:
            if namespace != EVERYWHERE:
                self.existing_namespace(session, namespace)
            return self._make_key(session, principal, namespace, name, role, expires_at_ms)

    def keys(self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None) -> Page[Key]:
        """The keys of a namespace (`*`: those for everywhere), by id. Raises `NotFound`, `Forbidden`."""
        self.require(principal, "keys.read", _place(namespace))
        after = "" if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._database.read() as session:
            if namespace != EVERYWHERE:
                self.existing_namespace(session, namespace)
            rows = store.list_keys(session, namespace=namespace, after=after, limit=clamp_limit(limit) + 1)
        found = [row.key for row in rows]
        return Page(found[:limit], encode_cursor(found[limit - 1].id) if len(found) > limit else None)

    def key(self, principal: Principal, namespace: str, key_id: str) -> Key:
        """Raises `NotFound`, `Forbidden`."""
        self.require(principal, "keys.read", _place(namespace))
        with self._database.read() as session:
            return self._key_of(session, namespace, key_id)

    def revoke_key(self, principal: Principal, namespace: str, key_id: str) -> None:
        """End a key at once. Raises `NotFound`, `Forbidden`, `Conflict` (the bootstrap admin's key)."""
        self.require(principal, "keys.revoke", _place(namespace))
        with self._log.transaction() as session:
            key = self._key_of(session, namespace, key_id)
            if read_meta(session, _bootstrap_key) == key_id:
                raise Conflict(
                    "the bootstrap admin's key cannot be revoked: the platform would have no admin", key=key_id
                )
            self._end_key(session, principal, key, "asked")

    def key_specs(self, session: Session, ids: list[str] | None = None) -> list[KeySpec]:
        """Keys as hosts are told of them, in the snapshot of `session`; these, or all."""
        return [_spec(row) for row in store.list_keys(session, ids=ids, limit=_all_keys)]

    def _make_namespace(self, session: Session, principal: Principal, name: str) -> Namespace:
        history = self._log.load(session, NamespaceHistory, f"ns_{name}")
        history.create(name)
        made = Namespace(name=name, created_at_ms=self._log.time_ms(session))
        store.insert_namespace(session, made.name, made.created_at_ms)
        self._log.save(session, history, by=principal.id, namespace=name)
        return made

    def _make_key(
        self,
        session: Session,
        principal: Principal,
        namespace: str,
        name: str,
        role: Role,
        expires_at_ms: int | None,
        *,
        keep_token: bool = False,
    ) -> NewKey:
        key = Key(
            id=new_id("key"),
            namespace=namespace,
            name=name,
            role=role,
            principal_id=new_id("pr"),
            access_key_id="ISO" + new_id("k")[2:19].upper(),
            created_at_ms=self._log.time_ms(session),
            expires_at_ms=expires_at_ms,
        )
        made = NewKey(key=key, token=new_token(), secret_access_key=secrets.token_urlsafe(30))
        kept = KeySecrets(made.secret_access_key, made.token if keep_token else None)
        sealed = seal_key_secrets(self._vault, key.id, kept)
        history = self._log.load(session, KeyHistory, key.id)
        history.create(namespace=namespace, role=role, principal_id=key.principal_id, expires_at_ms=expires_at_ms)
        store.insert_key(session, store.KeyRow(key=key, digest=token_digest(made.token), secrets=sealed))
        note_change(session, "key", key.id)
        self._log.save(session, history, by=principal.id, namespace=_place(namespace))
        return made

    def _end_key(self, session: Session, principal: Principal, key: Key, reason: str) -> None:
        history = self._log.load(session, KeyHistory, key.id)
        history.revoke(reason)
        store.delete_key(session, key.id)
        note_change(session, "key", key.id)
        self._log.save(session, history, by=principal.id, namespace=_place(key.namespace))

    def _key_of(self, session: Session, namespace: str, key_id: str) -> Key:
        row = store.find_key(session, key_id)
        if row is None or row.key.namespace != namespace:
            raise NotFound(f"there is no key {key_id[:100]!r} in the namespace {namespace!r}", key=key_id[:100])
        return row.key


def _place(namespace: str) -> str | None:
    return None if namespace == EVERYWHERE else namespace


def _home(key: Key) -> str:
    return DEFAULT_NAMESPACE if key.namespace == EVERYWHERE else key.namespace


def _no_namespace(name: str) -> NotFound:
    return NotFound(f"there is no namespace {name[:100]!r}", namespace=name[:100])


def _spec(row: store.KeyRow) -> KeySpec:
    return KeySpec(
        id=row.key.id,
        digest=row.digest,
        principal_id=row.key.principal_id,
        grants=[GrantSpec(row.key.namespace, row.key.role)],
        home_namespace=_home(row.key),
        expires_at_ms=row.key.expires_at_ms,
        access_key_id=row.key.access_key_id,
        sealed=row.secrets,
    )
