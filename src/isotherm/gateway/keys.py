"""Who is calling: keys by the digest of their token or by what signs, users by their access tokens; what each may do.

Bounded caches on top. Control is asked nothing: what is known here is desired state.
"""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from isotherm.base.errors import SignatureRefused, Unauthenticated
from isotherm.base.ids import token_digest
from isotherm.sigv4.model import Signature
from isotherm.sigv4.policy import derive_key
from isotherm.sigv4.secrets import open_key_secrets
from isotherm.storage.vault import Vault
from isotherm.wire.access import Claims, TokenCheck, is_access_token
from isotherm.wire.desired import GrantSpec, KeySpec, TokenKeySpec, UserSpec
from isotherm.wire.scopes import OF_NAMESPACE, Scope, parse_scopes

__all__ = ["KeyRing", "Principal", "Signer", "bearer_token", "is_own"]

INVOKING = frozenset(("invoker", "developer", "admin"))
VIEWING = frozenset(("viewer", "developer", "admin"))
DEPLOYING = frozenset(("developer", "admin"))
ANY = "*"
CACHE_SIZE = 4096
NEVER_MS = 1 << 62
MAX_HEADER_BYTES = 512
OWN_TOKEN = b"iso_"  # how a platform key begins, which is no business of the function
MINUTE_MS = 60_000


class Principal:
    """What a key or a user may do, by namespace and, where scopes narrow it, by function."""

    __slots__ = (
        "_deploy", "_invoke", "_scopes", "_view", "expires_at_ms", "home_namespace", "id", "proof", "told_s", "used_s",
    )  # fmt: skip

    def __init__(
        self,
        principal_id: str,
        grants: list[GrantSpec],
        home_namespace: str,
        expires_at_ms: int | None,
        scopes: tuple[Scope, ...] | None = None,
        *,
        proof: str | Claims,
    ) -> None:
        self.id = principal_id
        self.proof = proof  # the id of a key, or what an access token says
        self.home_namespace = home_namespace
        self.expires_at_ms = NEVER_MS if expires_at_ms is None else expires_at_ms
        self.used_s = 0.0  # monotonic, of the last call
        self.told_s = 0.0  # what `used_s` was when that was told last
        self._invoke = frozenset(grant.namespace for grant in grants if grant.role in INVOKING)
        self._view = frozenset(grant.namespace for grant in grants if grant.role in VIEWING)
        self._deploy = frozenset(grant.namespace for grant in grants if grant.role in DEPLOYING)
        self._scopes = scopes

    def may_invoke(self, namespace: str, function: str) -> bool:
        return (namespace in self._invoke or ANY in self._invoke) and self._covers(("invoke",), function)

    def may_view(self, namespace: str, function: str | None) -> bool:
        """`function` None: all of the namespace."""
        return (namespace in self._view or ANY in self._view) and self._covers(("read", "logs"), function)

    def may_deploy(self, namespace: str, function: str) -> bool:
        return (namespace in self._deploy or ANY in self._deploy) and self._covers(("deploy",), function)

    def may_view_all(self) -> bool:
        """Names and numbers of all functions, which are no log lines: metrics."""
        return ANY in self._view and self._covers(("read",), None)

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


class Signer(NamedTuple):
    """A key, and what signs with it for a day, region and service."""

    key_id: str
    principal: Principal
    signing_key: bytes


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

    def __init__(self, time_ms: Callable[[], int], vault: Vault) -> None:
        self._time_ms = time_ms
        self._vault = vault
        self._by_digest: dict[str, KeySpec] = {}
        self._by_access_key: dict[str, KeySpec] = {}
        self._digests: dict[str, str] = {}
        self._used: dict[str, Principal] = {}  # by key id: of keys that came since this process began
        self._users: dict[str, UserSpec] = {}
        self._tokens = TokenCheck(time_ms)
        self._cache: dict[bytes, Principal] = {}
        self._signers: dict[tuple[str, str, str, str], Signer] = {}  # by access key id, date, region, service

    def put(self, key: KeySpec) -> None:
        self.remove(key.id)
        self._by_digest[key.digest] = key
        self._digests[key.id] = key.digest
        if key.access_key_id:
            self._by_access_key[key.access_key_id] = key

    def remove(self, key_id: str) -> None:
        gone = self._by_digest.pop(self._digests.pop(key_id, ""), None)
        if gone is not None:
            self._by_access_key.pop(gone.access_key_id, None)
        self._used.pop(key_id, None)
        self._cache.clear()
        self._signers.clear()

    def put_user(self, user: UserSpec) -> None:
        self._users[user.id] = user
        self._cache.clear()

    def remove_user(self, user_id: str) -> None:
        self._users.pop(user_id, None)
        self._cache.clear()

    def put_token_key(self, key: TokenKeySpec) -> None:
        self._tokens.put(key)

    def remove_token_key(self, key_id: str) -> None:
        self._tokens.remove(key_id)
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

    def renewed(self, principal: Principal) -> Principal | None:
        """Who was let in a while ago, as of now; that an access token got old since is no matter. None: is out."""
        proof = principal.proof
        if isinstance(proof, Claims):
            return self._user_of(proof) if self._is_going_on(proof) else None
        key = self._by_digest.get(self._digests.get(proof, ""))
        found = None if key is None else self._holder(key)
        return None if found is None or found.expires_at_ms <= self._time_ms() else found

    def take_used(self) -> dict[str, int]:
        """Keys that opened something since this was last asked, with the minute, ms."""
        now_ms, now_s = self._time_ms(), monotonic()
        found = {}
        for key_id, principal in self._used.items():
            if principal.used_s != principal.told_s:
                at_ms = round(now_ms - (now_s - principal.used_s) * 1000)
                found[key_id] = at_ms - at_ms % MINUTE_MS
                principal.told_s = principal.used_s
        return found

    def signer(self, signature: Signature) -> Signer:
        """Who says that they made this signature. Raises `SignatureRefused` (unknown_key) also where the key has
        expired; `Unavailable` under another master key."""
        place = (signature.access_key_id, signature.date, signature.region, signature.service)
        found = self._signers.get(place)
        if found is None:
            found = self._make_signer(*place)
            if len(self._signers) >= CACHE_SIZE:
                self._signers.clear()
            self._signers[place] = found
        if found.principal.expires_at_ms <= self._time_ms():
            raise SignatureRefused(
                "The security token included in the request is expired: make a new key with `isotherm keys`",
                reason="unknown_key",
            )
        return found

    def _make_signer(self, access_key_id: str, date: str, region: str, service: str) -> Signer:
        key = self._by_access_key.get(access_key_id)
        if key is None:
            raise SignatureRefused(
                f"The security token included in the request is invalid: no key of this platform has the access key id "
                f"{access_key_id[:64]!r}; it is mistyped, or was removed",
                reason="unknown_key",
            )
        secret = open_key_secrets(self._vault, key.id, key.sealed).secret_access_key
        return Signer(key.id, self._holder(key), derive_key(secret, date, region, service))

    def _look_up(self, authorization: bytes) -> Principal:
        token = bearer_token(authorization)
        if token is None or len(authorization) > MAX_HEADER_BYTES:
            raise Unauthenticated("the Authorization header must be `Bearer KEY`, with a key of this platform")
        if token.startswith(b"eyJ"):
            return self._user(token)
        key = self._by_digest.get(token_digest(token.decode("latin-1")))
        if key is None:
            raise Unauthenticated("the key is not known here: it is mistyped, or was removed")
        return self._holder(key)

    def _holder(self, key: KeySpec) -> Principal:
        """One for each key, however it is used, so that its use is counted in one place."""
        found = self._used.get(key.id)
        if found is None:
            scopes = parse_scopes(key.scopes)
            found = Principal(key.principal_id, key.grants, key.home_namespace, key.expires_at_ms, scopes, proof=key.id)
            self._used[key.id] = found
        return found

    def _user(self, token: bytes) -> Principal:
        return self._user_of(self._tokens.check(token.decode("latin-1"), self._is_going_on))

    def _user_of(self, claims: Claims) -> Principal:
        user = self._users[claims.sub]
        return Principal(user.id, user.grants, user.home_namespace, claims.exp * 1000, proof=claims)

    def _is_going_on(self, claims: Claims) -> bool:
        """Whether the session that a token is of has not ended."""
        user = self._users.get(claims.sub)
        return user is not None and user.version == claims.ver and claims.sid not in user.ended
