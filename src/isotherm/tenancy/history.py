"""The histories of namespaces, keys and secrets: what they decide, and the facts that stay. Pure."""

from typing import Any

import msgspec

from isotherm.base.errors import Conflict, NotFound
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.wire.desired import Role
from isotherm.wire.quota import Quota

__all__ = [
    "KeyCreated",
    "KeyHistory",
    "KeyNarrowed",
    "KeyReplaced",
    "NamespaceCreated",
    "NamespaceHistory",
    "QuotaSet",
    "SecretHistory",
    "SecretSet",
]


class NamespaceCreated(Fact, frozen=True, tag="namespace.created"):
    name: str


class NamespaceDeleted(Fact, frozen=True, tag="namespace.deleted"):
    name: str


class QuotaSet(Fact, frozen=True, tag="namespace.quota_set"):
    """The whole of it: what is None here follows the platform's default again."""

    quota: Quota


class NamespaceState(msgspec.Struct):
    exists: bool = False
    quota: Quota | None = None


class NamespaceHistory(Aggregate[NamespaceState]):
    """A namespace may be deleted and made again: that is one history."""

    facts = NamespaceCreated | NamespaceDeleted | QuotaSet
    state_type = NamespaceState
    state_version = 3

    def create(self, name: str) -> None:
        """Raises `Conflict` where it exists."""
        if self.state.exists:
            raise Conflict(f"the namespace {name!r} exists already", namespace=name)
        self.record(NamespaceCreated(name=name))

    def delete(self, name: str) -> None:
        """Raises `NotFound` where it does not exist."""
        if not self.state.exists:
            raise NotFound(f"there is no namespace {name!r}", namespace=name)
        self.record(NamespaceDeleted(name=name))

    def set_quota(self, quota: Quota) -> None:
        """Raises `NotFound` where the namespace does not exist."""
        if not self.state.exists:
            raise NotFound("the namespace does not exist")
        if quota != self.state.quota:
            self.record(QuotaSet(quota=quota))

    def apply(self, fact: Any) -> None:
        if isinstance(fact, QuotaSet):
            self.state.quota = fact.quota
        else:
            self.state.exists, self.state.quota = isinstance(fact, NamespaceCreated), None


class KeyCreated(Fact, frozen=True, tag="key.created"):
    """The name that its maker gave it is not here: it may be a person's."""

    namespace: str
    role: Role
    principal_id: str
    expires_at_ms: int | None = None


class KeyNarrowed(Fact, frozen=True, tag="key.narrowed"):
    """It opens only what these scopes reach of what its role does; said as it is made."""

    scopes: list[str]


class KeyReplaced(Fact, frozen=True, tag="key.replaced"):
    """Another key has taken over; this one ends then."""

    successor: str
    expires_at_ms: int


class KeyRevoked(Fact, frozen=True, tag="key.revoked"):
    reason: str = "asked"


class KeyState(msgspec.Struct):
    valid: bool = False
    expires_at_ms: int | None = None


class KeyHistory(Aggregate[KeyState]):
    facts = KeyCreated | KeyNarrowed | KeyReplaced | KeyRevoked
    state_type = KeyState
    state_version = 2

    def create(
        self,
        *,
        namespace: str,
        role: Role,
        principal_id: str,
        expires_at_ms: int | None,
        scopes: list[str] | None = None,
    ) -> None:
        self.record(KeyCreated(namespace=namespace, role=role, principal_id=principal_id, expires_at_ms=expires_at_ms))
        if scopes is not None:
            self.record(KeyNarrowed(scopes=scopes))

    def replace(self, successor: str, expires_at_ms: int) -> None:
        """It ends then, or before that where it would have anyway."""
        if self.state.expires_at_ms is not None:
            expires_at_ms = min(expires_at_ms, self.state.expires_at_ms)
        self.record(KeyReplaced(successor=successor, expires_at_ms=expires_at_ms))

    def revoke(self, reason: str = "asked") -> None:
        """Raises `NotFound` where it is revoked already, or never was."""
        if not self.state.valid:
            raise NotFound(f"there is no key {self.id}", key=self.id)
        self.record(KeyRevoked(reason=reason))

    def apply(self, fact: Any) -> None:
        match fact:
            case KeyCreated() | KeyReplaced():
                self.state.valid, self.state.expires_at_ms = True, fact.expires_at_ms
            case KeyRevoked():
                self.state.valid = False


class SecretSet(Fact, frozen=True, tag="secret.set"):
    """It has another value. Nothing here says which."""

    namespace: str
    name: str
    version: int


class SecretRemoved(Fact, frozen=True, tag="secret.removed"):
    still_used_by: list[str] = msgspec.field(default_factory=list)  # by force


class SecretState(msgspec.Struct):
    exists: bool = False
    version: int = 0


class SecretHistory(Aggregate[SecretState]):
    """A secret may be removed and set again: that is one history, and no version comes twice."""

    facts = SecretSet | SecretRemoved
    state_type = SecretState

    def set(self, namespace: str, name: str) -> int:
        """The version of the value that it has now."""
        self.record(SecretSet(namespace=namespace, name=name, version=self.state.version + 1))
        return self.state.version

    def remove(self, still_used_by: list[str]) -> None:
        """Raises `NotFound` where it does not exist."""
        if not self.state.exists:
            raise NotFound(f"there is no secret {self.id}")
        self.record(SecretRemoved(still_used_by=still_used_by))

    def apply(self, fact: Any) -> None:
        self.state.exists = isinstance(fact, SecretSet)
        if isinstance(fact, SecretSet):
            self.state.version = fact.version
