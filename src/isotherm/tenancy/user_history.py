"""The history of a user: what it decides, and the facts that stay: no name, no address, no secret. Pure."""

from typing import Any, Literal

import msgspec

from isotherm.base.errors import Conflict, NotFound
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.tenancy.model import UserState
from isotherm.wire.desired import Role

__all__ = [
    "LoggedIn",
    "PasswordSet",
    "SessionEnd",
    "TokenKeyHistory",
    "UserCreated",
    "UserHistory",
]

SessionEnd = Literal["asked", "reuse", "too_many"]


class UserCreated(Fact, frozen=True, tag="user.created"):
    registered: bool = False  # by himself or herself, where registration is open


class RoleGranted(Fact, frozen=True, tag="user.role_granted"):
    """In place of the role that the user had there."""

    namespace: str
    role: Role


class RoleRevoked(Fact, frozen=True, tag="user.role_revoked"):
    namespace: str
    reason: str = "asked"


class PasswordSet(Fact, frozen=True, tag="user.password_set"):
    """All sessions of before are over."""

    by_invitation: bool = False


class UserInvited(Fact, frozen=True, tag="user.invited"):
    """There is no password any more (or yet), and an invitation to choose one; all sessions are over."""


class UserDisabled(Fact, frozen=True, tag="user.disabled"):
    pass


class UserEnabled(Fact, frozen=True, tag="user.enabled"):
    pass


class UserDeleted(Fact, frozen=True, tag="user.deleted"):
    pass


class LoggedIn(Fact, frozen=True, tag="user.logged_in"):
    session: str


class SessionEnded(Fact, frozen=True, tag="user.session_ended"):
    """`reuse`: a refresh token came for the second time, so somebody else may have it."""

    session: str
    reason: SessionEnd = "asked"


class SessionsEnded(Fact, frozen=True, tag="user.sessions_ended"):
    """All of them."""


class UserLocked(Fact, frozen=True, tag="user.locked"):
    """After so many wrong passwords no more are tried until then, but from devices that are known."""

    failures: int
    until_ms: int


class UserUnlocked(Fact, frozen=True, tag="user.unlocked"):
    """Wrong passwords of before do not count any more."""


class UserFacts(msgspec.Struct):
    exists: bool = False
    disabled: bool = False
    has_password: bool = False
    version: int = 0  # of the access tokens that are good
    grants: dict[str, Role] = msgspec.field(default_factory=dict)


class UserHistory(Aggregate[UserFacts]):
    facts = (
        UserCreated
        | RoleGranted
        | RoleRevoked
        | PasswordSet
        | UserInvited
        | UserDisabled
        | UserEnabled
        | UserDeleted
        | LoggedIn
        | SessionEnded
        | SessionsEnded
        | UserLocked
        | UserUnlocked
    )
    state_type = UserFacts

    @property
    def user_state(self) -> UserState:
        if self.state.disabled:
            return "disabled"
        return "active" if self.state.has_password else "invited"

    def create(self, *, registered: bool) -> None:
        self.record(UserCreated(registered=registered))

    def grant(self, namespace: str, role: Role) -> bool:
        """Whether it changes anything."""
        self._must_exist()
        if self.state.grants.get(namespace) == role:
            return False
        self.record(RoleGranted(namespace=namespace, role=role))
        return True

    def revoke(self, namespace: str, reason: str = "asked") -> None:
        """Raises `NotFound` where there is no role."""
        self._must_exist()
        if namespace not in self.state.grants:
            raise NotFound(f"{self.id} has no role in {namespace}", id=self.id)
        self.record(RoleRevoked(namespace=namespace, reason=reason))

    def set_password(self, *, by_invitation: bool = False) -> None:
        self._must_exist()
        self.record(PasswordSet(by_invitation=by_invitation))

    def invite(self) -> None:
        """Also of a user who has a password: it is forgotten. Raises `Conflict` where the user is disabled."""
        self._must_exist()
        if self.state.disabled:
            raise Conflict(f"{self.id} is disabled; enable first", id=self.id)
        self.record(UserInvited())

    def disable(self) -> None:
        self._must_exist()
        if not self.state.disabled:
            self.record(UserDisabled())

    def enable(self) -> None:
        self._must_exist()
        if self.state.disabled:
            self.record(UserEnabled())

    def delete(self) -> None:
        self._must_exist()
        self.record(UserDeleted())

    def log_in(self, session: str) -> None:
        self.record(LoggedIn(session=session))

    def end_session(self, session: str, reason: SessionEnd) -> None:
        self.record(SessionEnded(session=session, reason=reason))

    def end_sessions(self) -> None:
        self._must_exist()
        self.record(SessionsEnded())

    def lock(self, failures: int, until_ms: int) -> None:
        self.record(UserLocked(failures=failures, until_ms=until_ms))

    def unlock(self) -> None:
        self._must_exist()
        self.record(UserUnlocked())

    def apply(self, fact: Any) -> None:
        state = self.state
        match fact:
            case UserCreated():
                state.exists = True
            case RoleGranted():
                state.grants[fact.namespace] = fact.role
            case RoleRevoked():
                state.grants.pop(fact.namespace, None)
            case UserDeleted():
                state.exists, state.grants = False, {}
            case UserEnabled():
                state.disabled = False
            case PasswordSet():
                state.has_password = True
                state.version += 1
            case UserInvited():
                state.has_password = False
                state.version += 1
            case UserDisabled():
                state.disabled = True
                state.version += 1
            case SessionsEnded():
                state.version += 1

    def _must_exist(self) -> None:
        if not self.state.exists:
            raise NotFound(f"there is no user {self.id[:100]!r}", id=self.id[:100])


class TokenKeyMade(Fact, frozen=True, tag="token_key.made"):
    """Access tokens are signed with another key from now on; those of before are checked for as long as they last."""

    id: str


class TokenKeysDropped(Fact, frozen=True, tag="token_key.dropped"):
    """All former keys, at once: no access token of before is good any more."""


class TokenKeyState(msgspec.Struct):
    newest: str = ""


class TokenKeyHistory(Aggregate[TokenKeyState]):
    """The one history of the keys that access tokens are signed with."""

    facts = TokenKeyMade | TokenKeysDropped
    state_type = TokenKeyState

    def make(self, token_key_id: str) -> None:
        self.record(TokenKeyMade(id=token_key_id))

    def drop(self) -> None:
        self.record(TokenKeysDropped())

    def apply(self, fact: Any) -> None:
        if isinstance(fact, TokenKeyMade):
            self.state.newest = fact.id
