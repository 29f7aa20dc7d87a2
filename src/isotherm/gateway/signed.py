"""Signed requests: checked by their head where it says what the body is, else when the whole body is there."""

import hashlib
from collections.abc import Callable, Collection

from isotherm.gateway.keys import KeyRing, Principal
from isotherm.gateway.request import Request
from isotherm.sigv4.chunks import chunked_body
from isotherm.sigv4.model import CHUNKED, UNSIGNED, Signature
from isotherm.sigv4.parsing import is_signed, parse_signature
from isotherm.sigv4.payload import DigestCheck, PayloadCheck, Unchecked
from isotherm.sigv4.policy import check_coverage, check_scope, check_signature, check_time

__all__ = ["Signatures", "SignedHead", "is_signed_request"]


def is_signed_request(request: Request) -> bool:
    """Whether it claims to be signed."""
    return is_signed(request.url, request.header(b"authorization"))


class SignedHead:
    """A signature as far as the head goes. `proven`: the head says what the body is, and was signed by the key."""

    __slots__ = ("_request", "_signing_key", "key_id", "principal", "proven", "signature")

    def __init__(self, request: Request, signature: Signature, principal: Principal, key_id: str, key: bytes) -> None:
        self._request = request
        self._signing_key = key
        self.signature = signature
        self.principal = principal
        self.key_id = key_id
        self.proven = False
        if signature.payload is not None:
            self._prove(signature.payload)

    def check(self) -> PayloadCheck:
        """What a body in pieces has to pass. Only where it is `proven`. Raises `SignatureRefused` (incomplete)."""
        payload = self.signature.payload
        assert payload is not None
        if payload in CHUNKED:
            return chunked_body(self.signature, self._signing_key, self._request.headers)
        return Unchecked() if payload == UNSIGNED else DigestCheck(payload)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks of its own, which `check` takes apart."""
        return self.signature.payload in CHUNKED

    def take(self, body: bytes) -> bytes:
        """The whole body, as it is to be used. Raises `SignatureRefused` (mismatch, payload)."""
        if not self.proven:
            self._prove(hashlib.sha256(body).hexdigest())
            return body
        check = self.check()
        body = check.feed(body)
        check.end()
        return body

    def _prove(self, payload: str) -> None:
        request = self._request
        check_signature(self.signature, self._signing_key, request.method, request.url, request.headers, payload)
        self.proven = True


class Signatures:
    """Checks signatures against the keys of this host."""

    def __init__(self, keys: KeyRing, region: str, time_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._region = region
        self.time_ms = time_ms

    def head(self, request: Request, services: Collection[str]) -> SignedHead:
        """A request of which `is_signed_request` holds, for one of these services. Raises `SignatureRefused`."""
        signature = parse_signature(request.url, request.headers)
        check_scope(signature, self._region, services)  # first: then signing keys are made for few places only
        check_time(signature, self.time_ms() / 1000.0)
        key, signing_key = self._keys.signer(signature)
        check_coverage(signature, request.headers)
        return SignedHead(request, signature, Principal(key), key.id, signing_key)
