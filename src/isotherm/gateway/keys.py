"""Who is calling: keys by the digest of their token, users by their access tokens, and what either may do.

Bounded caches on top. Control is asked nothing: what is known here is desired state.
"""

from collections.abc import Callable
from time import monotonic

from isotherm.base.errors import Unauthenticated
from isotherm.base.ids import token_digest
from isotherm.wire.access import Claims, TokenCheck, is_access_token
from isotherm.wire.desired import GrantSpec, KeySpec, SignerSpec, UserSpec
from isotherm.wire.scopes import OF_NAMESPACE, Scope, parse_scopes

__all__ = ["KeyRing", "Principal", "bearer_token", "is_own"]

INVOKING = frozenset(("invoker", "developer", "admin"))
VIEWING = frozenset(("viewer", "developer", "admin"))
ANY = "*"
CACHE_SIZE = 4096
NEVER_MS = 1 << 62
MAX_HEADER_BYTES = 512
OWN_TOKEN = b"iso_"  # how a platform key begins, which is no business of the function
MINUTE_MS = 60_000


class Principal:
    """What a key or a user may do, by namespace and, where scopes narrow it, by function."""

    __slots__ = ("_invoke", "_scopes", "_view", "expires_at_ms", "home_namespace", "id", "used_s")

    def __init__(
        self,
        principal_id: str,
        grants: list[GrantSpec],
        home_namespace: str,
        expires_at_ms: int | None,
        scopes: tuple[Scope, ...] | None = None,
    ) -> None:
        self.id = principal_id
        self.home_namespace = home_namespace
        self.expires_at_ms = NEVER_MS if expires_at_ms is None else expires_at_ms
        self.used_s = 0.0  # monotonic, of the last call
        self._invoke = frozenset(grant.namespace for grant in grants if grant.role in INVOKING)
        self._view = frozenset(grant.namespace for grant in grants if grant.role in VIEWING)
        self._scopes = scopes

    def may_invoke(self, namespace: str, function: str) -> bool:
        return (namespace in self._invoke or ANY in self._invoke) and self._covers(("invoke",), function)

    def may_view(self, namespace: str, function: str | None) -> bool:
        """`function` None: all of the namespace."""
        return (namespace in self._view or ANY in self._view) and self._covers(("read", "logs"), function)

    def knows(self, namespace: str) -> bool:
        """Whether it has any role there; to others a namespace looks empty."""
        return not {namespace, ANY}.isdisjoint(self._invoke | self._view)

    def reaches(self, function: str) -> bool:
        """Whether any scope is about this function; what none is about may be there or not, it is refused."""
        scopes = self._scopes
        return scopes is None or any(s.word not in OF_NAMESPACE and s.covers(function) for s in scopes)

    def _covers(self, words: tuple[str, ...], function: str | None) -> bool:
        scopes = self._scopes
        return scopes is None or any(scope.word in words and scope.covers(function) for scope in scopes)


def bearer_token(authorization: bytes) -> bytes | None:
    """The token in an `Authorization: Bearer TOKEN`; None where it is of another scheme."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


def is_own(authorization: bytes) -> bool:
    """Whether it is a key or an access token of a platform like this, valid or not."""
    token = bearer_token(authorization)
    return token is not None and (token.lower().startswith(OWN_TOKEN) or is_access_token(token))


class KeyRing:
    """All keys and users of this host. What changed counts from the next request on."""

    def __init__(self, time_ms: Callable[[], int]) -> None:
        self._time_ms = time_ms
        self._by_digest: dict[str, KeySpec] = {}
        self._digests: dict[str, str] = {}
        self._used: dict[str, Principal] = {}  # by key id: of keys that came since this process began
        self._users: dict[str, UserSpec] = {}
        self._tokens = TokenCheck(time_ms)
        self._cache: dict[bytes, Principal] = {}
        self._told_ms = 0

    def put(self, key: KeySpec) -> None:
        self.remove(key.id)
        self._by_digest[key.digest] = key
        self._digests[key.id] = key.digest

    def remove(self, key_id: str) -> None:
        self._by_digest.pop(self._digests.pop(key_id, ""), None)
        self._used.pop(key_id, None)
        self._cache.clear()

    def put_user(self, user: UserSpec) -> None:
        self._users[user.id] = user
        self._cache.clear()

    def remove_user(self, user_id: str) -> None:
        self._users.pop(user_id, None)
        self._cache.clear()

    def put_signer(self, signer: SignerSpec) -> None:
        self._tokens.put(signer)

    def remove_signer(self, signer_id: str) -> None:
        self._tokens.remove(signer_id)
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
            raise Unauthenticated("the key or access token has expired; make a new key with `isotherm keys`, or log in")
        return found

    def take_used(self) -> dict[str, int]:
        """Keys that opened something since this was last asked, with the minute, ms."""
        now_ms, now_s = self._time_ms(), monotonic()
        found = {}
        for key_id, principal in self._used.items():
            at_ms = round(now_ms - (now_s - principal.used_s) * 1000)
            if principal.used_s and at_ms >= self._told_ms:
                found[key_id] = at_ms - at_ms % MINUTE_MS
        self._told_ms = now_ms
        return found

    def _look_up(self, authorization: bytes) -> Principal:
        token = bearer_token(authorization)
        if token is None or len(authorization) > MAX_HEADER_BYTES:
            raise Unauthenticated("the Authorization header must be `Bearer KEY`, with a key of this platform")
        if token.startswith(b"eyJ"):
            return self._user(token)
        key = self._by_digest.get(token_digest(token.decode("latin-1")))
        if key is None:
            raise Unauthenticated("the key is not known here: it is mistyped, or was removed")
        found = self._used.get(key.id)
        if found is None:
            scopes = parse_scopes(key.scopes)
            found = Principal(key.principal_id, key.grants, key.home_namespace, key.expires_at_ms, scopes)
            self._used[key.id] = found
        return found

    def _user(self, token: bytes) -> Principal:
        claims = self._tokens.check(token.decode("latin-1"), self._is_going_on)
        user = self._users[claims.sub]
        return Principal(user.id, user.grants, user.home_namespace, claims.exp * 1000)

    def _is_going_on(self, claims: Claims) -> bool:
        """Whether the session that a token is of has not ended."""
        user = self._users.get(claims.sub)
        return user is not None and user.version == claims.ver and claims.sid not in user.ended
