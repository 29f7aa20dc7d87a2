"""The verbs of tenancy. Every command checks its permission and records who did it; all are thread-safe."""

from isotherm.db.pages import Page
from isotherm.tenancy.model import Key, Namespace, NewKey, Permission, Principal
from isotherm.wire.desired import Role

__all__ = ["Tenancy"]


class Tenancy:
    """Who may do what. Built by bootstrap from the event log, a vault for secrets and a clock."""

    def authenticate(self, token: str) -> Principal:
        """Whose bearer token this is. Raises `Unauthenticated` where it is unknown, revoked or expired."""
        raise NotImplementedError

    def require(self, principal: Principal, permission: Permission, namespace: str | None = None) -> None:
        """Check that `principal` may do this in `namespace` (None: on the platform as a whole).

        Raises `NotFound` where the principal has no role in that namespace (it looks like one that does not
        exist) and `Forbidden` where its roles do not suffice. Either is recorded in the audit log, bounded.
        """
        raise NotImplementedError

    def allows(self, principal: Principal, permission: Permission, namespace: str | None = None) -> bool:
        """As `require`, but only tells and records nothing."""
        raise NotImplementedError

    def bootstrap_admin(self) -> NewKey:
        """The admin's key made at the first start; each later start gives the same one, kept encrypted."""
        raise NotImplementedError

    def create_namespace(self, principal: Principal, name: str) -> Namespace:
        """Raises `Invalid` on a bad name, `Conflict` where it exists, `Forbidden`."""
        raise NotImplementedError

    def namespace(self, principal: Principal, name: str) -> Namespace:
        """Raises `NotFound`."""
        raise NotImplementedError

    def namespaces(self, principal: Principal, *, limit: int = 100, cursor: str | None = None) -> Page[Namespace]:
        """The namespaces in which the principal has a role, by name."""
        raise NotImplementedError

    def delete_namespace(self, principal: Principal, name: str) -> None:
        """Delete an empty namespace and revoke its keys. Raises `NotFound`, `Forbidden`, `Conflict` (not empty)."""
        raise NotImplementedError

    def create_key(
        self, principal: Principal, namespace: str, *, name: str, role: Role, expires_at_ms: int | None = None
    ) -> NewKey:
        """A key for a new principal with `role` in `namespace` (`*`: everywhere; only for admins of everywhere).

        Raises `NotFound`, `Forbidden`, `Invalid` (name of 1 to 100 characters; an expiry that is past).
        """
        raise NotImplementedError

    def keys(self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None) -> Page[Key]:
        """The keys of a namespace, by id. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def key(self, principal: Principal, namespace: str, key_id: str) -> Key:
        """Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def revoke_key(self, principal: Principal, namespace: str, key_id: str) -> None:
        """End a key at once. Raises `NotFound`, `Forbidden`, `Conflict` (the bootstrap admin's key)."""
        raise NotImplementedError
