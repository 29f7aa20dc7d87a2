"""A request's body on its way, held against what was signed of it."""

import hashlib
import hmac
from typing import Protocol

from isotherm.base.errors import SignatureRefused

__all__ = ["DigestCheck", "PayloadCheck", "Unchecked", "payload_mismatch"]


class PayloadCheck(Protocol):
    """Takes a body in pieces. What it gives back may not count as complete before `end` has returned."""

    def feed(self, data: bytes) -> bytes:
        """What of the body itself is in `data`. Raises `SignatureRefused` (payload)."""

    def end(self) -> None:
        """The body is over. Raises `SignatureRefused` (payload)."""


class Unchecked:
    """Nothing was signed of the body."""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> None:
        pass


class DigestCheck:
    """The body must have this SHA-256, in hex."""

    def __init__(self, expected: str) -> None:
        self._expected = expected
        self._sum = hashlib.sha256()

    def feed(self, data: bytes) -> bytes:
        self._sum.update(data)
        return data

    def end(self) -> None:
        if not hmac.compare_digest(self._sum.hexdigest(), self._expected):
            raise payload_mismatch("it does not have the digest that x-amz-content-sha256 says")


def payload_mismatch(how: str) -> SignatureRefused:
    return SignatureRefused(f"The body is not the one that was signed: {how}", reason="payload")
