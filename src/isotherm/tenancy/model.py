"""Nouns of tenancy: namespaces, principals and what they may do, keys."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from isotherm.wire.desired import Role
from isotherm.wire.quota import Quota

__all__ = [
    "DEFAULT_NAMESPACE",
    "EVERYWHERE",
    "SYSTEM",
    "Grant",
    "Key",
    "Namespace",
    "NamespaceQuota",
    "NewKey",
    "Permission",
    "Principal",
    "Secret",
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
]


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
    """Who asks: a person or a program that holds a key, or the platform itself (`SYSTEM`)."""

    id: str
    grants: tuple[Grant, ...]
    home_namespace: str = DEFAULT_NAMESPACE


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
