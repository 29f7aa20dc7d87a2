"""Logins: passwords become sessions, refresh tokens the next ones. What is wrong is answered alike, in alike time.

`login`, `register` and `change_password` hash a password: they cost a core some ten milliseconds, so whoever calls them
bounds how many run at once.
"""

import secrets

from msgspec.structs import replace
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Forbidden, Invalid, TooManyRequests, Unauthenticated
from isotherm.base.ids import token_digest
from isotherm.events.denials import Denials
from isotherm.events.service import EventLog
from isotherm.storage.vault import Vault
from isotherm.tenancy import policy, user_store
from isotherm.tenancy.attempts import FORGOTTEN_AFTER_MS, Attempts, Place
from isotherm.tenancy.model import ANONYMOUS, Principal, Tokens
from isotherm.tenancy.passwords import Hasher, check_password
from isotherm.tenancy.sessions import ENDED_MS, IDLE_MS, LIFE_MS, Sessions
from isotherm.tenancy.signing import Signing
from isotherm.tenancy.user_history import UserHistory
from isotherm.tenancy.user_store import SessionRow, UserRow
from isotherm.tenancy.users import Users, is_user_name

__all__ = ["LoginCounts", "Logins"]

_purpose = "tenancy.password"
MAX_WITHOUT_ROLE = 10_000  # where anybody may register: each user is known to each host
_kept_attempts = 50_000
_told_at_once = 100


class LoginCounts:
    """For the metrics, since this process began. Written by one statement each, so exact enough without a lock."""

    def __init__(self) -> None:
        self.logins = 0
        self.failures = 0
        self.lockouts = 0
        self.refused = 0  # while locked
        self.reuses = 0  # of refresh tokens


class Logins:
    """Thread-safe."""

    def __init__(
        self,
        *,
        log: EventLog,
        denials: Denials,
        users: Users,
        vault: Vault,
        clock: Clock,
        hasher: Hasher | None = None,
    ) -> None:
        self._log = log
        self._denials = denials
        self._users = users
        self._vault = vault
        self._clock = clock
        self._hasher = hasher or Hasher()
        self._attempts = Attempts(vault)
        self.signing = Signing(log=log, vault=vault, clock=clock)
        self._sessions = Sessions(log=log, vault=vault, signing=self.signing)
        self.counts = LoginCounts()

    def authenticate(self, token: str) -> Principal:
        """Whose access token this is. Raises `Unauthenticated`."""
        with self._log.database.read() as session:
            claims = self.signing.claims(session, token)
            row = user_store.find_session(session, claims.sid)
            user = user_store.find_user(session, claims.sub)
        if row is None or user is None or user.version != claims.ver or not _goes_on(row, user):
            raise _over()
        return _principal(user, row)

    def renewed(self, principal: Principal) -> Principal:
        """A user as of now, who was let in before: that the access token got old meanwhile is no matter.

        Raises `Unauthenticated` where the session is over.
        """
        with self._log.database.read() as session:
            row = None if principal.session is None else user_store.find_session(session, principal.session)
            user = user_store.find_user(session, principal.id)
        if row is None or user is None or not _goes_on(row, user):
            raise _over()
        return _principal(user, row)

    def login(self, name: str, password: str, *, address: str, device: str | None = None) -> Tokens:
        """Raises `Unauthenticated` whatever is wrong of name, password and user, `TooManyRequests` while locked."""
        name = name.strip().lower()[:100]
        place = self._attempts.place(name, address, device)
        with self._log.database.read() as session:
            self._check_place(session, place)
            user = _named(session, name)
        good = self._verify(user, password)
        with self._log.transaction() as session:
            self._check_place(session, place)  # others may have failed meanwhile
            now = _named(session, name)
            unchanged = user is not None and now is not None and now.password == user.password
            if good and now is not None and unchanged and now.state == "active":
                return self._begin(session, now, place, password, device)
            self._note_failure(session, place, user)
        raise Unauthenticated("the name or the password is not right, or this login was disabled")

    def refresh(self, token: str) -> Tokens:
        """Raises `Unauthenticated`; where the token was used before, its session ends for whoever has it."""
        with self._log.transaction() as session:
            found = self._sessions.presented(session, token)
            user = None if found is None else user_store.find_user(session, found.row.user_id)
            if found is not None and user is not None and found.used:
                self.counts.reuses += 1
                history = self._users.history(session, user.id)
                self._sessions.end(session, found.row, history, "reuse")
                self._users.changed(session, ANONYMOUS, history)
            elif found is not None and user is not None and user.state == "active":
                return self._sessions.renew(session, found.row)
        self._denials.count(ANONYMOUS.id, "refresh", None)
        raise Unauthenticated("this refresh token is not good: it was used, has expired, or its session is over")

    def logout(self, token: str) -> None:
        """End the session of a refresh token; nothing where there is none."""
        with self._log.transaction() as session:
            found = self._sessions.presented(session, token)
            if found is None:
                return
            history = self._users.history(session, found.row.user_id)
            self._sessions.end(session, found.row, history, "asked")
            self._users.changed(session, Principal(id=found.row.user_id, grants=()), history)

    def register(self, *, name: str | None, password: str, invitation: str | None) -> Tokens:
        """Choose a password: with an invitation always, without one where registration is open.

        Raises `Forbidden` (closed), `Unauthenticated` (the invitation), `Conflict` (the name is taken), `Invalid`.
        """
        if invitation is None:
            return self._register_new(name, password)
        with self._log.database.read() as session:
            user = self._invited(session, invitation)
        if user is None:
            self._denials.count(ANONYMOUS.id, "register", None)
            raise Unauthenticated(
                "this invitation is not good: it was used, has expired, or was replaced by another. An admin makes "
                "another one with `isotherm users reset NAME`"
            )
        if name is not None and name.strip().lower() != user.name:
            raise Invalid("the invitation is for another name; leave the name out", key="name")
        check_password(password, user.name)
        stored = self._hasher.hash(password)
        with self._log.transaction() as session:
            now = self._invited(session, invitation)
            if now is None or now.id != user.id:
                raise Unauthenticated("this invitation was used a moment ago")
            history = self._users.history(session, now.id)
            return self._set_password(session, now, history, stored, by_invitation=True)

    def change_password(self, principal: Principal, current: str, new: str) -> None:
        """All sessions end. What is wrong counts for this session alone: who guesses at logins hinders nobody here.

        Raises `Invalid` (a key has no password; the new one), `Forbidden` (the current one), `TooManyRequests`,
        `Unauthenticated` (the session ended meanwhile).
        """
        if principal.session is None:
            raise Invalid("a key has no password; log in as a user to change yours")
        with self._log.database.read() as session:
            user = self._users.existing(session, principal.id)
            place = self._attempts.place_of_session(principal.session)
            self._check_place(session, place)
        check_password(new, user.name)
        if not self._verify(user, current):
            with self._log.transaction() as session:
                self._check_place(session, place)
                self._note_failure(session, place, user)
            raise Forbidden("the current password is not right")
        stored = self._hasher.hash(new)
        with self._log.transaction() as session:
            self._check_place(session, place)
            now = self._users.existing(session, user.id)
            if (now.version, now.state, now.password) != (user.version, "active", user.password):
                raise _over()  # an admin has shut out, or reset, whoever sent this
            self._attempts.succeeded(session, place)
            history = self._users.history(session, user.id)
            self._store_password(session, user, history, stored, by_invitation=False)
            self._users.changed(session, principal, history)

    def sweep(self) -> int:
        """Forget what is over, write lock-outs to the audit log, and change keys that are old; how many rows went."""
        now_ms = self._clock.time_ms()
        with self._log.transaction() as session:
            for row in user_store.locked_users(session, _told_at_once):
                self._tell_lockout(session, row)
            removed = user_store.delete_old_attempts(
                session, before_ms=now_ms - FORGOTTEN_AFTER_MS, kept=_kept_attempts
            )
            removed += user_store.sweep_sessions(
                session,
                ended_before_ms=now_ms - 2 * ENDED_MS,
                used_before_ms=now_ms - IDLE_MS,
                made_before_ms=now_ms - LIFE_MS,
            )
        return removed + self.signing.sweep()

    def _check_place(self, session: Session, place: Place) -> None:
        try:
            self._attempts.check(session, place, self._clock.time_ms())
        except TooManyRequests:
            self.counts.refused += 1
            raise

    def _verify(self, user: UserRow | None, password: str) -> bool:
        """Takes as long whether there is such a user or not."""
        stored = None
        if user is not None and user.state == "active" and user.password is not None:
            stored = self._vault.open(_purpose, user.password, user.id).decode()
        return self._hasher.verify(stored, password[:1000])

    def _note_failure(self, session: Session, place: Place, user: UserRow | None) -> None:
        self.counts.failures += 1
        if self._attempts.failed(session, place, None if user is None else user.id, self._clock.time_ms()):
            self.counts.lockouts += 1
        self._denials.count(ANONYMOUS.id if user is None else user.id, "login", None)

    def _begin(self, session: Session, user: UserRow, place: Place, password: str, device: str | None) -> Tokens:
        self._attempts.succeeded(session, place)
        history = self._users.history(session, user.id)
        tokens = self._sessions.begin(session, user, history)
        user_store.update_user(session, user.id, last_login_at_ms=self._log.time_ms(session))
        self._rehash(session, user, password)
        if len(history.pending) > 1:  # an older session made room: hosts have to hear of that
            self._users.changed(session, _own(user), history)
        else:
            self._log.save(session, history, by=user.id, namespace=None)
        self.counts.logins += 1
        return self._with_device(tokens, user.name, device)

    def _rehash(self, session: Session, user: UserRow, password: str) -> None:
        """Where the parameters were raised since the password was set."""
        stored = self._vault.open(_purpose, user.password or b"", user.id).decode()
        if self._hasher.outdated(stored):
            fresh = self._vault.seal(_purpose, self._hasher.hash(password).encode(), user.id)
            user_store.update_user(session, user.id, password=fresh)

    def _register_new(self, name: str | None, password: str) -> Tokens:
        if self._users.registration != "open":
            self._denials.count(ANONYMOUS.id, "register", None)
            raise Forbidden(
                "registration is closed; ask an admin for an invitation", registration=self._users.registration
            )
        if name is None:
            raise Invalid("choose a name, or give an invitation", key="name")
        check_password(password, name.strip().lower())
        with self._log.database.read() as session:
            if user_store.count_without_role(session, MAX_WITHOUT_ROLE) >= MAX_WITHOUT_ROLE:
                raise TooManyRequests(
                    "too many users wait for a role: an admin has to give some one, or to delete them",
                    retry_after_s=3600.0,
                )
        stored = self._hasher.hash(password)
        with self._log.transaction() as session:
            user, history = self._users.make(session, name, (), registered=True)
            return self._set_password(session, user, history, stored, by_invitation=False)

    def _set_password(
        self, session: Session, user: UserRow, history: UserHistory, stored: str, *, by_invitation: bool
    ) -> Tokens:
        """And log in."""
        self._store_password(session, user, history, stored, by_invitation=by_invitation)
        tokens = self._sessions.begin(session, user, history)
        user_store.update_user(session, user.id, last_login_at_ms=self._log.time_ms(session))
        self._users.changed(session, _own(user), history)
        return self._with_device(tokens, user.name, None)

    def _store_password(
        self, session: Session, user: UserRow, history: UserHistory, stored: str, *, by_invitation: bool
    ) -> None:
        now_ms = self._log.time_ms(session)
        history.set_password(by_invitation=by_invitation)
        user_store.update_user(
            session,
            user.id,
            state=history.user_state,
            version=history.state.version,
            password=self._vault.seal(_purpose, stored.encode(), user.id),
            password_at_ms=now_ms,
            invitation=None,
            invitation_until_ms=None,
        )
        user_store.end_sessions(session, user.id, now_ms)

    def _invited(self, session: Session, invitation: str) -> UserRow | None:
        user = user_store.find_user(session, invitation=token_digest(invitation[:200]))
        if user is None or user.state != "invited" or (user.invitation_until_ms or 0) <= self._clock.time_ms():
            return None
        return user

    def _with_device(self, tokens: Tokens, name: str, device: str | None) -> Tokens:
        """The token of a device that has none yet, or one of another name."""
        known = device is not None and self._attempts.is_device_of(name, device)
        fresh = device if known else self._attempts.device(name, secrets.token_hex(16))
        return replace(tokens, device=fresh)

    def _tell_lockout(self, session: Session, row: user_store.AttemptRow) -> None:
        user_store.put_attempt(session, replace(row, told=True))
        if row.user_id is None or user_store.find_user(session, row.user_id) is None:
            return
        history = self._users.history(session, row.user_id)
        history.lock(row.failures, row.until_ms)
        self._log.save(session, history, by=ANONYMOUS.id, namespace=None)


def _goes_on(row: SessionRow, user: UserRow) -> bool:
    """Whether a session is its user's, and neither has ended."""
    mine = row.user_id == user.id and row.version == user.version
    return mine and row.ended_at_ms is None and user.state == "active"


def _principal(user: UserRow, row: SessionRow) -> Principal:
    return Principal(id=user.id, grants=user.grants, home_namespace=policy.home_of(user.grants), session=row.id)


def _over() -> Unauthenticated:
    return Unauthenticated("this session is over; log in again")


def _own(user: UserRow) -> Principal:
    return Principal(id=user.id, grants=())


def _named(session: Session, name: str) -> UserRow | None:
    """None where nobody could have this name; it may be anything that somebody typed."""
    return user_store.find_user(session, name=name) if is_user_name(name) else None
