"""The verbs of tenancy. Every command checks its permission and records who did it; all are thread-safe."""

import secrets
from collections.abc import Callable

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
from isotherm.tenancy.key_uses import KeyUses
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
from isotherm.wire.scopes import ANY_FUNCTION, Scope, parse_scopes

__all__ = ["Tenancy"]

_bootstrap_key = "bootstrap_key"
_all_keys = 1_000_000
MAX_OVERLAP_S = 30 * 86_400


class Tenancy:
    """Who may do what. `denials` records what is refused."""

    def __init__(self, *, log: EventLog, denials: Denials, vault: Vault, clock: Clock) -> None:
        self._log = log
        self._database = log.database
        self._denials = denials
        self._vault = vault
        self._clock = clock
        self._uses = KeyUses()
        self._at_namespace_end: list[Callable[[Session, Principal, str], None]] = []

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
        self._uses.note(row.key.id, self._clock.time_ms())
        return Principal(
            id=row.key.principal_id,
            grants=(Grant(row.key.namespace, row.key.role),),
            home_namespace=_home(row.key),
            scopes=parse_scopes(row.key.scopes),
            key=row.key.id,
        )

    def require(
        self,
        principal: Principal,
        permission: Permission,
        namespace: str | None = None,
        function: str | None = None,
    ) -> None:
        """Check that `principal` may do this in `namespace` (None: on the platform as a whole), to a `function` of it
        (None: to what concerns none, or all; `*`: to one that is not known yet).

        Raises `NotFound` where the principal has no role in that namespace (it looks like one that does not
        exist) and `Forbidden` where its roles or scopes do not suffice. Either is recorded in the audit log, bounded.
        """
        verdict = policy.judge(principal.grants, permission, namespace)
        if verdict == "allowed" and policy.covers(principal.scopes, permission, function):
            return
        self._denials.note(principal.id, permission, namespace)
        if verdict == "hidden":
            raise _no_namespace(str(namespace))
        where = "on the platform" if namespace is None else f"in the namespace {namespace!r}"
        if verdict == "allowed":
            raise _out_of_scope(permission, where, namespace, function)
        who = "this key" if principal.session is None else "you"
        roles = sorted(role for role, allowed in policy.PERMISSIONS.items() if permission in allowed)
        raise Forbidden(
            f"{who} may not do that {where}: {permission} takes the role {' or '.join(roles)}",
            permission=permission,
            namespace=namespace,
        )

    def allows(
        self,
        principal: Principal,
        permission: Permission,
        namespace: str | None = None,
        function: str | None = None,
    ) -> bool:
        """As `require`, but only tells and records nothing."""
        allowed = policy.judge(principal.grants, permission, namespace) == "allowed"
        return allowed and policy.covers(principal.scopes, permission, function)

    def key_used(self, key_id: str, at_ms: int) -> None:
        """Somewhere a key opened something; written down with the next `flush_uses`."""
        self._uses.note(key_id, at_ms)

    def flush_uses(self) -> int:
        """Write down when keys were last used; how many are still to be written: none."""
        uses = self._uses.take()
        if uses:
            with self._database.write() as session:
                store.note_key_uses(session, uses)
        return 0

    def at_namespace_end(self, callback: Callable[[Session, Principal, str], None]) -> None:
        """Call it in the transaction that deletes a namespace: for the rooms' parts that refer to namespaces."""
        self._at_namespace_end.append(callback)

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
            for callback in self._at_namespace_end:
                callback(session, principal, name)
            self._log.save(session, history, by=principal.id, namespace=name)

    def create_key(
        self,
        principal: Principal,
        namespace: str,
        *,
        name: str,
        role: Role,
        expires_at_ms: int | None = None,
        scopes: list[str] | None = None,
        description: str = "",
    ) -> NewKey:
        """A key for a new principal with `role` in `namespace` (`*`: everywhere; only for admins of everywhere), as far
        as `scopes` reach (None: all of it).

        Raises `NotFound`, `Forbidden`, `Invalid` (name of 1 to 100 characters; an expiry that is past; a scope).
        """
        self.require(principal, "keys.create", _place(namespace))
        if len(description) > 1000 or (not description.replace("\n", " ").isprintable() and description):
            raise Invalid("the description of a key is up to 1000 printable characters")
        parsed = parse_scopes(scopes)
        if parsed is not None:
            scopes = [str(scope) for scope in parsed]
            _check_reach(parsed, role)
        if not 1 <= len(name) <= 100 or not name.isprintable():
            raise Invalid("the name of a key is 1 to 100 printable characters", name=name[:100])
        if expires_at_ms is not None and expires_at_ms <= self._clock.time_ms():
            raise Invalid(
                "the key would have expired already; expires_at_ms is in the past", expires_at_ms=expires_at_ms
            )
        with self._log.transaction() as session:
            if namespace != EVERYWHERE:
                self.existing_namespace(session, namespace)
            return self._make_key(
                session, principal, namespace, name, role, expires_at_ms, scopes=scopes, description=description
            )

    def rotate_key(
        self, principal: Principal, namespace: str, key_id: str, *, overlap_s: float, expires_at_ms: int | None = None
    ) -> NewKey:
        """Another key for the same principal, with the same role and scopes; the former one is good for `overlap_s`.

        Where `expires_at_ms` is not given, the new one is good for as long as the former one was made for. Raises
        `NotFound`, `Forbidden`, `Invalid`, `Conflict` (the bootstrap admin's key).
        """
        self.require(principal, "keys.create", _place(namespace))
        self.require(principal, "keys.revoke", _place(namespace))
        now_ms = self._clock.time_ms()
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise Invalid(f"the overlap is 0 to {MAX_OVERLAP_S} s, not {overlap_s:g} s", key="overlap_s")
        if expires_at_ms is not None and expires_at_ms <= now_ms:
            raise Invalid("the key would have expired already; expires_at_ms is in the past")
        with self._log.transaction() as session:
            former = self._key_of(session, namespace, key_id)
            if read_meta(session, _bootstrap_key) == key_id:
                raise Conflict("the bootstrap admin's key is the same at each start; make another key for all else")
            if former.expires_at_ms is not None and former.expires_at_ms <= now_ms:
                raise Conflict("the key has expired: nothing uses it; make another", key=key_id)
            if expires_at_ms is None and former.expires_at_ms is not None:
                expires_at_ms = now_ms + former.expires_at_ms - former.created_at_ms
            made = self._make_key(
                session,
                principal,
                namespace,
                former.name,
                former.role,
                expires_at_ms,
                scopes=former.scopes,
                description=former.description,
                principal_id=former.principal_id,
            )
            history = self._log.load(session, KeyHistory, key_id)
            history.replace(made.key.id, now_ms + round(overlap_s * 1000))
            assert history.state.expires_at_ms is not None
            store.expire_key(session, key_id, history.state.expires_at_ms)
            note_change(session, "key", key_id)
            self._log.save(session, history, by=principal.id, namespace=_place(namespace))
            return made

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
        scopes: list[str] | None = None,
        description: str = "",
        principal_id: str | None = None,
    ) -> NewKey:
        key = Key(
            id=new_id("key"),
            namespace=namespace,
            name=name,
            role=role,
            principal_id=principal_id or new_id("pr"),
            access_key_id="ISO" + new_id("k")[2:19].upper(),
            created_at_ms=self._log.time_ms(session),
            expires_at_ms=expires_at_ms,
            scopes=scopes,
            description=description,
        )
        made = NewKey(key=key, token=new_token(), secret_access_key=secrets.token_urlsafe(30))
        kept = KeySecrets(made.secret_access_key, made.token if keep_token else None)
        sealed = seal_key_secrets(self._vault, key.id, kept)
        history = self._log.load(session, KeyHistory, key.id)
        history.create(
            namespace=namespace,
            role=role,
            principal_id=key.principal_id,
            expires_at_ms=expires_at_ms,
            scopes=scopes,
        )
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


def _check_reach(scopes: tuple[Scope, ...], role: Role) -> None:
    """A scope that the role gives nothing of would be a key that opens nothing, and nobody would know why."""
    for scope in scopes:
        if policy.PURPOSE[scope.word] not in policy.PERMISSIONS[role]:
            raise Invalid(f"the role {role} does not do what the scope {scope} is for", scope=str(scope))


def _out_of_scope(permission: Permission, where: str, namespace: str | None, function: str | None) -> Forbidden:
    words = sorted(word for word, reached in policy.SCOPES.items() if permission in reached)
    what = f" of the function {function!r}" if function not in (None, ANY_FUNCTION) else ""
    takes = (
        f"it takes the scope {' or '.join(words)}" if words else "no scope reaches it: it takes a key without scopes"
    )
    if words and function is None:
        takes += ", without a pattern"
    return Forbidden(
        f"this key's scopes do not reach {permission}{what} {where}: {takes}",
        permission=permission,
        namespace=namespace,
    )


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
        scopes=row.key.scopes,
    )
