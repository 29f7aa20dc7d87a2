"""Nouns of tenancy: namespaces, principals and what they may do, keys, users."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from isotherm.wire.desired import Role
from isotherm.wire.quota import Quota
from isotherm.wire.scopes import Scope

__all__ = [
    "ANONYMOUS",
    "DEFAULT_NAMESPACE",
    "EVERYWHERE",
    "SYSTEM",
    "Grant",
    "Invitation",
    "Key",
    "Member",
    "Namespace",
    "NamespaceQuota",
    "NewKey",
    "Permission",
    "Principal",
    "Secret",
    "Tokens",
    "User",
    "UserState",
]

EVERYWHERE = "*"  # as a grant's namespace: every namespace, and the platform itself
DEFAULT_NAMESPACE = "default"

Permission = Literal[
    "platform.read",  # status, me: any principal that has a role anywhere
    "hosts.read",
    "events.read",
    "namespaces.read",
    "namespaces.create",
    "namespaces.delete",
    "functions.read",
    "functions.deploy",
    "functions.delete",
    "functions.invoke",
    "functions.read_env",  # the values of environment variables: they are secrets
    "invocations.read",
    "invocations.read_event",  # what a call was made with: user data
    "calls.read",  # one asynchronous call by its id
    "calls.manage",  # pause, purge, redrive
    "logs.read",
    "keys.read",
    "keys.create",
    "keys.revoke",
    "quotas.read",
    "quotas.set",
    "secrets.read",  # names and versions; no permission reads a value
    "secrets.set",
    "secrets.delete",
    "members.read",  # users with a role in the namespace
    "members.set",
    "users.read",  # all users
    "users.manage",
]
UserState = Literal["active", "invited", "disabled"]  # invited: has yet to choose a password


class Grant(msgspec.Struct, frozen=True):
    """A role in a namespace; `*` is every namespace."""

    namespace: str
    role: Role


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    created_at_ms: int


class NamespaceQuota(msgspec.Struct, frozen=True, kw_only=True):
    """The quota of a namespace. `etag` changes with what was said of this namespace, not with the default."""

    namespace: str
    own: Quota  # what was said of it
    limits: Quota  # what holds: where `own` leaves something open, the platform's default
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: a user who is logged in, a program that holds a key, or the platform itself (`SYSTEM`)."""

    id: str
    grants: tuple[Grant, ...]
    home_namespace: str = DEFAULT_NAMESPACE
    scopes: tuple[Scope, ...] | None = None  # of a key; None: all that the grants allow
    session: str | None = None  # of a user
    key: str | None = None  # id of the key


ANONYMOUS = Principal(id="anonymous", grants=())  # on the few routes that need nothing
SYSTEM = Principal(id="system", grants=(Grant(EVERYWHERE, "admin"),))


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is shown: its secret is not here."""

    id: str  # "key_…"
    namespace: str  # where its role holds; `*`: everywhere
    name: str
    role: Role
    principal_id: str  # "pr_…"
    access_key_id: str
    created_at_ms: int
    expires_at_ms: int | None = None
    scopes: list[str] | None = None  # None: all that the role allows
    description: str = ""
    last_used_at_ms: int | None = None  # to the minute


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as it is shown: its value is not here."""

    namespace: str
    name: str
    version: int  # grows with each other value, also over a removal
    created_at_ms: int
    updated_at_ms: int
    used_by: list[str]  # functions that take it: live, by another alias, or building
    etag: str  # changes with its value; without quotes


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key just made (or the bootstrap admin's): the only time that its secrets are shown."""

    key: Key
    token: str  # "iso_…", the bearer token
    secret_access_key: str  # goes with `key.access_key_id` where requests are signed


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user who may log in, or could."""

    id: str  # "pr_…"
    name: str  # what is typed at a login; in no event, so that a user can be forgotten
    state: UserState
    grants: list[Grant]
    created_at_ms: int
    password_at_ms: int | None = None  # when it was last set; None: there is none
    last_login_at_ms: int | None = None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A user in a namespace, as its admins see it."""

    id: str
    name: str
    role: Role
    state: UserState


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a user choose a password, once. Shown when it is made, and never again."""

    user: User
    invitation: str  # "isi_…"
    expires_at_ms: int


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What a login comes to."""

    access_token: str  # a JWT, for `Authorization: Bearer`
    expires_at_ms: int
    refresh_token: str  # good once
    refresh_expires_at_ms: int
    principal_id: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 -- OAuth's word, no secret
    device: str | None = None  # send it with the next login from here: failures of others do not lock it out
