"""Who is calling: keys by the digest of their token or by what signs, and what their roles let them do. Bounded
caches on top."""

from collections.abc import Callable
from typing import NamedTuple

from isotherm.base.errors import SignatureRefused, Unauthenticated
from isotherm.base.ids import token_digest
from isotherm.sigv4.model import Signature
from isotherm.sigv4.policy import derive_key
from isotherm.sigv4.secrets import open_key_secrets
from isotherm.storage.vault import Vault
from isotherm.wire.desired import KeySpec

__all__ = ["KeyRing", "Principal", "Signer", "bearer_token"]

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


class Signer(NamedTuple):
    """A key, and what signs with it for a day, region and service."""

    key_id: str
    principal: Principal
    signing_key: bytes


def bearer_token(authorization: bytes) -> bytes | None:
    """The token in an `Authorization: Bearer TOKEN`; None where it is of another scheme."""
    scheme, _, token = authorization.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None


class KeyRing:
    """All keys of this host. A changed key counts from the next request on."""

    def __init__(self, time_ms: Callable[[], int], vault: Vault) -> None:
        self._time_ms = time_ms
        self._vault = vault
        self._by_digest: dict[str, KeySpec] = {}
        self._by_access_key: dict[str, KeySpec] = {}
        self._digests: dict[str, str] = {}
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
        self._cache.clear()
        self._signers.clear()

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
        return Signer(key.id, Principal(key), derive_key(secret, date, region, service))

    def _look_up(self, authorization: bytes) -> Principal:
        token = bearer_token(authorization)
        if token is None or len(authorization) > MAX_HEADER_BYTES:
            raise Unauthenticated("the Authorization header must be `Bearer KEY`, with a key of this platform")
        key = self._by_digest.get(token_digest(token.decode("latin-1")))
        if key is None:
            raise Unauthenticated("the key is not known here: it is mistyped, or was removed")
        return Principal(key)
