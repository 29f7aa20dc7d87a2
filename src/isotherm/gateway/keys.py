"""Who is calling: keys by the digest of their token, and what their roles let them do. Bounded caches on top."""

from collections.abc import Callable

from isotherm.base.errors import Unauthenticated
from isotherm.base.ids import token_digest
from isotherm.wire.desired import KeySpec

__all__ = ["KeyRing", "Principal", "bearer_token"]

INVOKING = frozenset(("invoker", "developer", "admin"))
VIEWING = frozenset(("viewer", "developer", "admin"))
DEPLOYING = frozenset(("developer", "admin"))
ANY = "*"
CACHE_SIZE = 4096
NEVER_MS = 1 << 62
MAX_HEADER_BYTES = 512


class Principal:
    """What a key may do, by namespace."""

    __slots__ = ("_deploy", "_invoke", "_view", "expires_at_ms", "home_namespace", "id")

    def __init__(self, key: KeySpec) -> None:
        self.id = key.principal_id
        self.home_namespace = key.home_namespace
        self.expires_at_ms = NEVER_MS if key.expires_at_ms is None else key.expires_at_ms
        self._invoke = frozenset(grant.namespace for grant in key.grants if grant.role in INVOKING)
        self._view = frozenset(grant.namespace for grant in key.grants if grant.role in VIEWING)
        self._deploy = frozenset(grant.namespace for grant in key.grants if grant.role in DEPLOYING)

    def may_invoke(self, namespace: str) -> bool:
        return namespace in self._invoke or ANY in self._invoke

    def may_view(self, namespace: str) -> bool:
        return namespace in self._view or ANY in self._view

    def may_deploy(self, namespace: str) -> bool:
        return namespace in self._deploy or ANY in self._deploy

    def knows(self, namespace: str) -> bool:
        """Whether it has any role there; to others a namespace looks empty."""
        return self.may_invoke(namespace) or self.may_view(namespace)


def bearer_token(authorization: bytes) -> bytes | None:
    """The token in an `Authorization: Bearer TOKEN`; None where it is of another scheme."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


class KeyRing:
    """All keys of this host. A changed key counts from the next request on."""

    def __init__(self, time_ms: Callable[[], int]) -> None:
        self._time_ms = time_ms
        self._by_digest: dict[str, KeySpec] = {}
        self._digests: dict[str, str] = {}
        self._cache: dict[bytes, Principal] = {}

    def put(self, key: KeySpec) -> None:
        self.remove(key.id)
        self._by_digest[key.digest] = key
        self._digests[key.id] = key.digest

    def remove(self, key_id: str) -> None:
        self._by_digest.pop(self._digests.pop(key_id, ""), None)
        self._cache.clear()

    def principal(self, authorization: bytes) -> Principal:
        """Who sent this `Authorization` header. Raises `Unauthenticated`."""
        found = self._cache.get(authorization)
        if found is None:
            found = self._look_up(authorization)
            if len(self._cache) >= CACHE_SIZE:
                self._cache.clear()
            self._cache[authorization] = found
        if found.expires_at_ms <= self._time_ms():
            raise Unauthenticated("the key has expired; make a new one with `isotherm keys`")
        return found

    def _look_up(self, authorization: bytes) -> Principal:
        token = bearer_token(authorization)
        if token is None or len(authorization) > MAX_HEADER_BYTES:
            raise Unauthenticated("the Authorization header must be `Bearer KEY`, with a key of this platform")
        key = self._by_digest.get(token_digest(token.decode("latin-1")))
        if key is None:
            raise Unauthenticated("the key is not known here: it is mistyped, or was removed")
        return Principal(key)
