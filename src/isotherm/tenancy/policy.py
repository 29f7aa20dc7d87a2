"""Who may do what: roles and their permissions, names, and how a requirement is judged. Pure."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

from isotherm.tenancy.model import EVERYWHERE, Grant, Permission
from isotherm.wire.desired import Role

__all__ = ["PERMISSIONS", "Verdict", "judge", "permissions_of"]

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
