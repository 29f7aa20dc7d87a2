"""Who may do what: roles and their permissions, names, and how a requirement is judged. Pure."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

from isotherm.tenancy.model import DEFAULT_NAMESPACE, EVERYWHERE, Grant, Permission
from isotherm.wire.desired import Role
from isotherm.wire.scopes import Scope, ScopeWord

__all__ = ["PERMISSIONS", "PURPOSE", "SCOPES", "Verdict", "covers", "home_of", "judge", "permissions_of"]

Verdict = Literal["allowed", "forbidden", "hidden"]

_invoker: Final[frozenset[Permission]] = frozenset(
    {"platform.read", "namespaces.read", "functions.invoke", "calls.read"}
)
_viewer: Final[frozenset[Permission]] = frozenset(
    {
        "platform.read",
        "namespaces.read",
        "functions.read",
        "invocations.read",
        "calls.read",
        "logs.read",
        "hosts.read",
        "quotas.read",
        "secrets.read",
    }
)
_developer: Final[frozenset[Permission]] = (
    _invoker
    | _viewer
    | {
        "functions.deploy",
        "functions.delete",
        "functions.read_env",
        "invocations.read_event",
        "calls.manage",
        "secrets.set",
        "secrets.delete",
    }
)
_admin: Final[frozenset[Permission]] = frozenset(get_args(Permission))

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "invoker": _invoker,
    "viewer": _viewer,
    "developer": _developer,
    "admin": _admin,
}


# What each word of a key's scopes reaches. No word reaches keys, people, namespaces and quotas: a key that is narrowed
# cannot make one that is not.
SCOPES: Final[dict[ScopeWord, frozenset[Permission]]] = {
    "read": frozenset(
        {"functions.read", "invocations.read", "calls.read", "logs.read", "hosts.read", "quotas.read", "secrets.read"}
    ),
    "logs": frozenset({"logs.read", "invocations.read"}),
    "invoke": frozenset({"functions.invoke", "calls.read"}),
    "deploy": frozenset({"functions.read", "functions.deploy"}),
    "delete": frozenset({"functions.delete"}),
    "queue": frozenset({"calls.read", "calls.manage", "invocations.read"}),
    "secrets": frozenset({"secrets.read", "secrets.set", "secrets.delete"}),
    "audit": frozenset({"events.read"}),
}
# What each word is for. A role without it would make a key that looks as if it opened what it does not.
PURPOSE: Final[dict[ScopeWord, Permission]] = {
    "read": "calls.read",  # which all roles have
    "logs": "logs.read",
    "invoke": "functions.invoke",
    "deploy": "functions.deploy",
    "delete": "functions.delete",
    "queue": "calls.manage",
    "secrets": "secrets.set",
    "audit": "events.read",
}
_always: Final[frozenset[Permission]] = frozenset({"platform.read", "namespaces.read"})
_home_order: Final = (DEFAULT_NAMESPACE, EVERYWHERE)


def covers(scopes: tuple[Scope, ...] | None, permission: Permission, function: str | None = None) -> bool:
    """Whether scopes reach a permission on a function (None: what concerns none, or all)."""
    if scopes is None or permission in _always:
        return True
    return any(permission in SCOPES[scope.word] and scope.covers(function) for scope in scopes)


def home_of(grants: Iterable[Grant]) -> str:
    """Where an unqualified name is looked up: `default` where there is a role, else the first namespace by name."""
    places = sorted({grant.namespace for grant in grants})
    return DEFAULT_NAMESPACE if not places or set(places) & set(_home_order) else places[0]


def permissions_of(grants: Iterable[Grant], namespace: str | None) -> frozenset[Permission]:
    """What these grants allow in a namespace; None: on the platform as a whole, which only grants of `*` reach."""
    found: frozenset[Permission] = frozenset()
    for grant in grants:
        if grant.namespace in (EVERYWHERE, namespace):
            found |= PERMISSIONS[grant.role]
    return found


def judge(grants: Iterable[Grant], permission: Permission, namespace: str | None) -> Verdict:
    """`hidden`: the namespace is to look like one that does not exist, since no grant reaches it."""
    grants = tuple(grants)
    if permission == "platform.read" and namespace is None:
        return "allowed" if grants else "forbidden"
    allowed = permissions_of(grants, namespace)
    if permission in allowed:
        return "allowed"
    return "hidden" if namespace is not None and not allowed else "forbidden"
