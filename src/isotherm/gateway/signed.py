"""Signed requests: checked by their head where it says what the body is, else when the whole body is there."""

import hashlib
from collections.abc import Callable, Collection

from isotherm.gateway.keys import KeyRing, Signer
from isotherm.gateway.request import Request
from isotherm.sigv4.chunks import chunked_body
from isotherm.sigv4.model import CHUNKED, UNSIGNED, Sent, Signature
from isotherm.sigv4.parsing import is_signed, parse_signature, sent_headers
from isotherm.sigv4.payload import DigestCheck, PayloadCheck, Unchecked
from isotherm.sigv4.policy import check_coverage, check_scope, check_signature, check_time

__all__ = ["Signatures", "SignedHead", "is_signed_request"]


def is_signed_request(request: Request) -> bool:
    """Whether it claims to be signed."""
    return is_signed(request.url, request.header(b"authorization"))


class SignedHead:
    """A signature as far as the head goes. `proven`: the head says what the body is, and was signed by the key."""

    __slots__ = ("_request", "_sent", "_signing_key", "key_id", "principal", "proven", "signature")

    def __init__(self, request: Request, sent: Sent, signature: Signature, signer: Signer) -> None:
        self._request = request
        self._sent = sent
        self.signature = signature
        self.key_id, self.principal, self._signing_key = signer
        self.proven = False
        if signature.payload is not None:
            self.prove(signature.payload)

    def check(self) -> PayloadCheck:
        """What a body in pieces has to pass. Only where it is `proven`. Raises `SignatureRefused` (incomplete)."""
        payload = self.signature.payload
        assert payload is not None
        if payload in CHUNKED:
            return chunked_body(self.signature, self._signing_key, self._sent)
        return Unchecked() if payload == UNSIGNED else DigestCheck(payload)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks of its own, which `check` takes apart."""
        return self.signature.payload in CHUNKED

    def take(self, body: bytes, digest: str | None = None) -> bytes:
        """The whole body, as it is to be used; `digest`: where it is known already.

        Raises `SignatureRefused` (mismatch, payload).
        """
        if not self.proven:
            self.prove(digest or hashlib.sha256(body).hexdigest())
            return body
        if digest is not None and digest == self.signature.payload:
            return body
        check = self.check()
        body = check.feed(body)
        check.end()
        return body

    def prove(self, payload: str) -> None:
        """Where it is not `proven`: by the digest of the whole body. Raises `SignatureRefused` (mismatch)."""
        request = self._request
        check_signature(self.signature, self._signing_key, request.method, request.url, self._sent, payload)
        self.proven = True


class Signatures:
    """Checks signatures against the keys of this host."""

    def __init__(self, keys: KeyRing, region: str, time_ms: Callable[[], int]) -> None:
        self._keys = keys
        self.region = region
        self.time_ms = time_ms

    def head(self, request: Request, services: Collection[str]) -> SignedHead:
        """A request of which `is_signed_request` holds, for one of these services. Raises `SignatureRefused`."""
        sent = sent_headers(request.headers)
        signature = parse_signature(request.url, sent)
        check_scope(signature, self.region, services)  # first: then signing keys are made for few places only
        check_time(signature, self.time_ms() / 1000.0)
        signer = self._keys.signer(signature)
        check_coverage(signature, sent)
        return SignedHead(request, sent, signature, signer)
