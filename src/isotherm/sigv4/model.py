"""Nouns of signatures: what one claims, who may have made it, and what a service asks of it."""

from typing import Final, Literal

import msgspec

__all__ = [
    "ALGORITHM",
    "CHUNKED",
    "EXECUTE_API",
    "LAMBDA",
    "S3",
    "SIGNED_STREAM",
    "SIGNED_STREAM_TRAILER",
    "UNSIGNED",
    "UNSIGNED_STREAM_TRAILER",
    "Headers",
    "Reason",
    "Sent",
    "Signature",
]

ALGORITHM: Final = "AWS4-HMAC-SHA256"

# Services by the name that a scope has for them.
LAMBDA: Final = "lambda"
EXECUTE_API: Final = "execute-api"
S3: Final = "s3"

# What `x-amz-content-sha256` may say instead of a digest.
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SIGNED_STREAM: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_STREAM_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_STREAM_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CHUNKED: Final = frozenset((SIGNED_STREAM, SIGNED_STREAM_TRAILER, UNSIGNED_STREAM_TRAILER))

Headers = list[tuple[bytes, bytes]]  # as they came: names in any case, in order
Sent = dict[str, list[str]]  # the same by name in lower case, Latin-1: one character a byte

Reason = Literal[
    "incomplete",  # something is missing from the signature, or cannot be read
    "unknown_key",
    "session_token",  # temporary credentials, which are not made here
    "scope",  # another date, region or service
    "unsigned_header",
    "early",
    "expired",
    "mismatch",
    "payload",  # the body is not the one that was signed
]


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of its signature. Nothing of it is checked yet but its form."""

    access_key_id: str
    date: str  # YYYYMMDD, of the scope
    region: str
    service: str
    time: str  # YYYYMMDDTHHMMSSZ, when it was signed
    signed_headers: tuple[str, ...]  # lower case, in order
    signature: str  # 64 hex digits
    payload: str | None  # what is said of the body: a digest, or one of the words above; None: nothing
    expires_s: int | None = None  # of a presigned URL, from its time on
    in_query: bool = False

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"
