"""Users: who there are, their roles, and who may no longer. Every verb checks its permission; all are thread-safe."""

import re
import secrets
from collections.abc import Sequence
from typing import Literal

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound
from isotherm.base.ids import new_id, token_digest
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.events.changes import note_change
from isotherm.events.service import EventLog
from isotherm.storage.vault import Vault
from isotherm.tenancy import policy, user_store
from isotherm.tenancy.attempts import Attempts
from isotherm.tenancy.model import EVERYWHERE, Grant, Invitation, Member, Principal, User
from isotherm.tenancy.service import Tenancy
from isotherm.tenancy.sessions import ENDED_MS
from isotherm.tenancy.user_history import UserHistory
from isotherm.tenancy.user_store import UserRow
from isotherm.wire.desired import GrantSpec, Role, UserSpec

__all__ = ["INVITATION_MS", "Registration", "Users", "grants_of", "is_user_name", "user_name"]

Registration = Literal["closed", "invited", "open"]
INVITATION_MS = 7 * 86_400_000
MAX_GRANTS = 100  # of one user
_all = 1_000_000
_name = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,61}[a-z0-9])?")


class Users:
    """`registration` says who may make users: platform admins always, admins of a namespace where it is `invited` or
    `open`, anybody where it is `open` (see `Logins.register`)."""

    def __init__(
        self, *, log: EventLog, tenancy: Tenancy, vault: Vault, clock: Clock, registration: Registration = "closed"
    ) -> None:
        self._log = log
        self._tenancy = tenancy
        self._clock = clock
        self._attempts = Attempts(vault)
        self.registration: Registration = registration
        tenancy.at_namespace_end(self.namespace_deleted)

    # Who there are

    def page(
        self, principal: Principal, *, name: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[User]:
        """By name; `name`: that one alone. Raises `Forbidden`."""
        self._tenancy.require(principal, "users.read")
        after = "" if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._log.database.read() as session:
            if name is not None:
                row = user_store.find_user(session, name=name.strip().lower())
                return Page([] if row is None else [_shown(row)])
            rows = user_store.list_users(session, after=after, limit=clamp_limit(limit) + 1)
        found = [_shown(row) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1].name) if len(rows) > limit else None)

    def get(self, principal: Principal, user_id: str) -> User:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "users.read")
        with self._log.database.read() as session:
            return _shown(self.existing(session, user_id))

    def named(self, principal: Principal) -> str | None:
        """The name of the user who asks; None where it is a key."""
        with self._log.database.read() as session:
            row = user_store.find_user(session, principal.id)
        return None if row is None or principal.session is None else row.name

    # Making and ending them

    def invite(self, principal: Principal, name: str, grants: Sequence[Grant] = ()) -> Invitation:
        """A new user who is yet to choose a password, with these roles.

        Raises `Invalid` (name), `Conflict` (it is taken), `NotFound` (a namespace), `Forbidden`.
        """
        self._tenancy.require(principal, "users.manage")
        return self._invite_new(principal, name, grants)

    def invite_member(self, principal: Principal, namespace: str, name: str, role: Role) -> Invitation:
        """As `invite`, by an admin of one namespace; only where registration is not closed."""
        self._tenancy.require(principal, "members.set", namespace)
        if self.registration == "closed" and not self._tenancy.allows(principal, "users.manage"):
            raise Forbidden(
                "registration is closed: ask an admin of the platform to invite, or give a role to somebody who has a "
                "login, by id",
                registration=self.registration,
            )
        return self._invite_new(principal, name, [Grant(namespace, role)])

    def reset(self, principal: Principal, user_id: str) -> Invitation:
        """The password is forgotten, sessions end, and an invitation lets choose another. Raises `NotFound`,
        `Forbidden`, `Conflict` (disabled)."""
        self._tenancy.require(principal, "users.manage")
        with self._log.transaction() as session:
            row = self.existing(session, user_id)
            history = self.history(session, user_id)
            history.invite()
            return self._invitation(session, principal, history, row)

    def disable(self, principal: Principal, user_id: str) -> User:
        """Sessions end, on hosts within a second; roles stay. Raises `NotFound`, `Forbidden`."""
        return self._switch(principal, user_id, "disable")

    def enable(self, principal: Principal, user_id: str) -> User:
        """Raises `NotFound`, `Forbidden`."""
        return self._switch(principal, user_id, "enable")

    def end_sessions(self, principal: Principal, user_id: str) -> User:
        """Raises `NotFound`, `Forbidden`."""
        return self._switch(principal, user_id, "end_sessions")

    def unlock(self, principal: Principal, user_id: str) -> User:
        """Wrong passwords of before do not count any more. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "users.manage")
        with self._log.transaction() as session:
            row = self.existing(session, user_id)
            user_store.delete_attempts(session, [self._attempts.of_name(row.name)])
            history = self.history(session, user_id)
            history.unlock()
            self._log.save(session, history, by=principal.id, namespace=None)
            return _shown(row)

    def delete(self, principal: Principal, user_id: str) -> None:
        """The name is forgotten; events go on to have the id. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "users.manage")
        with self._log.transaction() as session:
            row = self.existing(session, user_id)
            history = self.history(session, user_id)
            history.delete()
            user_store.delete_attempts(session, [self._attempts.of_name(row.name)])
            user_store.delete_user(session, user_id)
            self.changed(session, principal, history)

    # Roles

    def members(
        self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Member]:
        """Users with a role in a namespace, by id; without those who have one everywhere. Raises `NotFound`,
        `Forbidden`."""
        self._tenancy.require(principal, "members.read", namespace)
        after = "" if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._log.database.read() as session:
            self._tenancy.existing_namespace(session, namespace)
            rows = user_store.list_members(session, namespace, after=after, limit=clamp_limit(limit) + 1)
        found = [_member(row, namespace) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1].id) if len(rows) > limit else None)

    def set_role(self, principal: Principal, namespace: str, user_id: str, role: Role) -> Member:
        """Give a user a role, in place of the one there; `namespace` may be `*`, for admins of everywhere.

        Raises `NotFound`, `Forbidden`, `Conflict` (too many).
        """
        self._require_set(principal, namespace)
        with self._log.transaction() as session:
            if namespace != EVERYWHERE:
                self._tenancy.existing_namespace(session, namespace)
            self.existing(session, user_id)
            history = self.history(session, user_id)
            if history.grant(namespace, role):
                self._put_grants(session, history)
                self.changed(session, principal, history, namespace)
            return _member(self.existing(session, user_id), namespace)

    def remove_role(self, principal: Principal, namespace: str, user_id: str) -> None:
        """Raises `NotFound` (also where there is none), `Forbidden`."""
        self._require_set(principal, namespace)
        with self._log.transaction() as session:
            if namespace != EVERYWHERE:
                self._tenancy.existing_namespace(session, namespace)
            self.existing(session, user_id)
            history = self.history(session, user_id)
            history.revoke(namespace)
            self._put_grants(session, history)
            self.changed(session, principal, history, namespace)

    def namespace_deleted(self, session: Session, principal: Principal, namespace: str) -> None:
        """Nobody has a role there any more. In the transaction that deletes it."""
        for row in user_store.list_members(session, namespace, limit=_all):
            history = self.history(session, row.id)
            history.revoke(namespace, "its namespace was deleted")
            self._put_grants(session, history)
            self.changed(session, principal, history, namespace)

    # For hosts, and for `Logins`

    def specs(self, session: Session, ids: Sequence[str] | None = None) -> list[UserSpec]:
        """Users as hosts are told of them, in the snapshot of `session`: these, or all; without who is disabled."""
        rows = user_store.list_users(session, ids=ids, states=["active"], limit=_all)
        since_ms = self._clock.time_ms() - ENDED_MS
        ended: dict[tuple[str, int], list[str]] = {}
        for each in user_store.list_sessions(session, ids, ended_since_ms=since_ms):
            if each.ended_at_ms is not None:
                ended.setdefault((each.user_id, each.version), []).append(each.id)
        return [
            UserSpec(
                id=row.id,
                version=row.version,
                grants=[GrantSpec(grant.namespace, grant.role) for grant in row.grants],
                home_namespace=policy.home_of(row.grants),
                ended=ended.get((row.id, row.version), []),
            )
            for row in rows
        ]

    def existing(self, session: Session, user_id: str) -> UserRow:
        """Raises `NotFound`."""
        row = user_store.find_user(session, user_id)
        if row is None:
            raise NotFound(f"there is no user {user_id[:100]!r}", id=user_id[:100])
        return row

    def history(self, session: Session, user_id: str) -> UserHistory:
        return self._log.load(session, UserHistory, user_id)

    def changed(
        self, session: Session, principal: Principal, history: UserHistory, namespace: str | None = None
    ) -> None:
        """Keep what was decided; hosts have to hear of it."""
        note_change(session, "user", history.id)
        self._log.save(session, history, by=principal.id, namespace=None if namespace == EVERYWHERE else namespace)

    def make(
        self, session: Session, name: str, grants: Sequence[Grant], *, registered: bool = False
    ) -> tuple[UserRow, UserHistory]:
        """Neither saved nor told yet. Raises `Invalid`, `Conflict`."""
        history = self.history(session, new_id("pr"))
        history.create(registered=registered)
        for grant in grants:
            history.grant(grant.namespace, grant.role)
        row = UserRow(
            id=history.id,
            name=user_name(name),
            state="invited",
            version=0,
            created_at_ms=self._log.time_ms(session),
            grants=grants_of(history),
        )
        if user_store.find_user(session, name=row.name) is not None:
            raise Conflict(f"the name {row.name!r} is taken", name=row.name)
        try:
            user_store.insert_user(session, row)
        except IntegrityError as exc:
            raise Conflict(f"the name {row.name!r} is taken", name=row.name) from exc
        return row, history

    def _invite_new(self, principal: Principal, name: str, grants: Sequence[Grant]) -> Invitation:
        if len(grants) > MAX_GRANTS:
            raise Invalid(f"a user has a role in {MAX_GRANTS} namespaces at most; give one for `*`")
        with self._log.transaction() as session:
            for grant in grants:
                if grant.namespace != EVERYWHERE:
                    self._tenancy.existing_namespace(session, grant.namespace)
            row, history = self.make(session, name, grants)
            history.invite()
            return self._invitation(session, principal, history, row)

    def _invitation(self, session: Session, principal: Principal, history: UserHistory, row: UserRow) -> Invitation:
        token = "isi_" + secrets.token_urlsafe(32)
        until_ms = self._log.time_ms(session) + INVITATION_MS
        user_store.update_user(
            session,
            row.id,
            state=history.user_state,
            version=history.state.version,
            password=None,
            password_at_ms=None,
            invitation=token_digest(token),
            invitation_until_ms=until_ms,
        )
        user_store.end_sessions(session, row.id, self._log.time_ms(session))
        self.changed(session, principal, history)
        return Invitation(user=_shown(self.existing(session, row.id)), invitation=token, expires_at_ms=until_ms)

    def _switch(self, principal: Principal, user_id: str, what: Literal["disable", "enable", "end_sessions"]) -> User:
        self._tenancy.require(principal, "users.manage")
        with self._log.transaction() as session:
            self.existing(session, user_id)
            history = self.history(session, user_id)
            getattr(history, what)()
            user_store.update_user(session, user_id, state=history.user_state, version=history.state.version)
            if what != "enable":
                user_store.end_sessions(session, user_id, self._log.time_ms(session))
            self.changed(session, principal, history)
            return _shown(self.existing(session, user_id))

    def _put_grants(self, session: Session, history: UserHistory) -> None:
        if len(history.state.grants) > MAX_GRANTS:
            raise Conflict(f"a user has a role in {MAX_GRANTS} namespaces at most; give one for `*`")
        user_store.put_grants(session, history.id, grants_of(history))

    def _require_set(self, principal: Principal, namespace: str) -> None:
        if namespace == EVERYWHERE:
            self._tenancy.require(principal, "users.manage")
        else:
            self._tenancy.require(principal, "members.set", namespace)


def is_user_name(text: str) -> bool:
    return _name.fullmatch(text) is not None


def user_name(text: str) -> str:
    """In lower case. Raises `Invalid` where it cannot be one."""
    name = text.strip().lower()
    if not _name.fullmatch(name):
        raise Invalid(
            f"{text[:100]!r} cannot be the name of a user: 1 to 63 letters, digits and ._@+-, a letter or digit first "
            "and last",
            name=text[:100],
        )
    return name


def grants_of(history: UserHistory) -> tuple[Grant, ...]:
    """By namespace."""
    return tuple(Grant(namespace, role) for namespace, role in sorted(history.state.grants.items()))


def _shown(row: UserRow) -> User:
    return User(
        id=row.id,
        name=row.name,
        state=row.state,
        grants=list(row.grants),
        created_at_ms=row.created_at_ms,
        password_at_ms=row.password_at_ms,
        last_login_at_ms=row.last_login_at_ms,
    )


def _member(row: UserRow, namespace: str) -> Member:
    role = next(grant.role for grant in row.grants if grant.namespace == namespace)
    return Member(id=row.id, name=row.name, role=role, state=row.state)
