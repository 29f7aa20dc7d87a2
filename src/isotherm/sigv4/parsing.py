"""Reads a signature off a request: the Authorization header, or the query of a presigned URL. Checks its form."""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.model import ALGORITHM, CHUNKED, UNSIGNED, Headers, Sent, Signature

__all__ = ["is_signed", "parse_signature", "sent_headers", "without_signature"]

MAX_AUTHORIZATION_BYTES = 8 * 1024
MAX_SIGNED_HEADERS = 100
SCHEME = b"AWS4-"
IN_QUERY = (b"X-Amz-Algorithm=", b"X-Amz-Signature=")  # of which one is there wherever a URL is presigned
TERMINATOR = "aws4_request"
EXPIRES_AT_MOST_S = 7 * 24 * 3600
PAYLOADS = CHUNKED | {UNSIGNED, None}

time_form = re.compile(r"[0-9]{8}T[0-9]{6}Z")
header_form = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}")
word_form = re.compile(r"[A-Za-z0-9_-]{1,128}")
digest_form = re.compile(r"[0-9a-f]{64}")

# Parameters of a presigned URL, by what they are called in the header form.
PARAMETERS = {
    "X-Amz-Algorithm": "Algorithm",
    "X-Amz-Credential": "Credential",
    "X-Amz-SignedHeaders": "SignedHeaders",
    "X-Amz-Signature": "Signature",
    "X-Amz-Date": "Date",
    "X-Amz-Expires": "Expires",
    "X-Amz-Security-Token": "Token",
    "X-Amz-Content-Sha256": "Payload",
}
AUTHENTICATING = frozenset(name.encode() for name in PARAMETERS)


def is_signed(target: bytes, authorization: bytes | None) -> bool:
    """Whether a request claims to be signed, in whatever way and form."""
    if authorization is not None:
        return authorization[:5].upper() == SCHEME
    return b"?" in target and any(name in target for name in IN_QUERY)


def sent_headers(headers: Headers) -> Sent:
    """Headers by name."""
    found: Sent = {}
    for raw, value in headers:
        name = raw.lower().decode("latin-1")
        if name in found:
            found[name].append(value.decode("latin-1"))
        else:
            found[name] = [value.decode("latin-1")]
    return found


def parse_signature(target: bytes, sent: Sent) -> Signature:
    """Of a request of which `is_signed` holds. Raises `SignatureRefused` (incomplete, session_token)."""
    authorization = _only(sent, "authorization")
    if authorization is None:
        return _from_query(target, sent)
    if any(name in target for name in IN_QUERY):
        raise incomplete("it is signed both by header and by query; use one of them")
    return _from_header(authorization, sent)


def without_signature(target: bytes) -> bytes:
    """`target` without the parameters that sign it."""
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    kept = [piece for piece in query.split(b"&") if piece and piece.partition(b"=")[0] not in AUTHENTICATING]
    return path + (b"?" + b"&".join(kept) if kept else b"")


def incomplete(what: str) -> SignatureRefused:
    return SignatureRefused(f"the request's signature cannot be read: {what}", reason="incomplete")


def _only(sent: Sent, name: str) -> str | None:
    values = sent.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise incomplete(f"there are two headers {name}")
    return values[0].strip(" \t")


def _from_header(authorization: str, sent: Sent) -> Signature:
    if len(authorization) > MAX_AUTHORIZATION_BYTES:
        raise incomplete(f"the Authorization header has more than {MAX_AUTHORIZATION_BYTES} bytes")
    algorithm, _, rest = authorization.partition(" ")
    fields = {"Algorithm": algorithm}
    for part in rest.split(","):
        name, mark, value = part.strip(" \t").partition("=")
        if not mark or name in fields:
            raise incomplete(f"{part.strip()[:64]!r} in the Authorization header is no NAME=VALUE, or comes twice")
        fields[name] = value
    missing = [name for name in ("Credential", "SignedHeaders", "Signature") if not fields.get(name)]
    if missing:
        raise incomplete(f"the Authorization header needs {' and '.join(missing)}")
    date = _only(sent, "x-amz-date")
    if not date:
        raise incomplete("the header X-Amz-Date is missing")
    if "x-amz-security-token" in sent:
        raise _session_token()
    fields["Date"] = date
    return _signature(fields, _only(sent, "x-amz-content-sha256"))


def _from_query(target: bytes, sent: Sent) -> Signature:
    fields: dict[str, str] = {}
    for piece in target.partition(b"?")[2].split(b"&"):
        raw, _, value = piece.partition(b"=")
        name = PARAMETERS.get(raw.decode("latin-1"))
        if name is None:
            continue
        if name in fields:
            raise incomplete(f"the parameter {raw.decode('latin-1')} comes twice")
        fields[name] = unquote_to_bytes(value.replace(b"+", b" ")).decode("latin-1")
    needed = ("Algorithm", "Credential", "SignedHeaders", "Signature", "Date", "Expires")
    missing = [name for name, field in PARAMETERS.items() if field in needed and not fields.get(field)]
    if missing:
        raise incomplete(f"a presigned URL needs the parameters {' and '.join(missing)}")
    if "Token" in fields or "x-amz-security-token" in sent:
        raise _session_token()
    expires = fields["Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 10 and 1 <= int(expires) <= EXPIRES_AT_MOST_S):
        raise incomplete(f"X-Amz-Expires must be 1 to {EXPIRES_AT_MOST_S} seconds, not {expires[:32]!r}")
    declared = fields.get("Payload") or _only(sent, "x-amz-content-sha256")
    return _signature(fields, declared, expires_s=int(expires), in_query=True)


def _signature(
    fields: dict[str, str], declared: str | None, *, expires_s: int | None = None, in_query: bool = False
) -> Signature:
    if fields["Algorithm"] != ALGORITHM:
        raise incomplete(f"the algorithm must be {ALGORITHM}, not {fields['Algorithm'][:32]!r}")
    access_key_id, date, region, service = _credential(fields["Credential"])
    if not time_form.fullmatch(fields["Date"]):
        raise incomplete(f"X-Amz-Date must be YYYYMMDDTHHMMSSZ, not {fields['Date'][:32]!r}")
    if not digest_form.fullmatch(fields["Signature"]):
        raise incomplete("Signature must be 64 hexadecimal digits in lower case")
    if declared not in PAYLOADS and not digest_form.fullmatch(declared or ""):
        words = ", ".join(sorted(word for word in PAYLOADS if word))
        raise incomplete(f"x-amz-content-sha256 must be a digest in lower-case hex, or one of {words}")
    return Signature(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        time=fields["Date"],
        signed_headers=_signed_headers(fields["SignedHeaders"]),
        signature=fields["Signature"],
        payload=declared,
        expires_s=expires_s,
        in_query=in_query,
    )


@lru_cache(1024)
def _credential(text: str) -> tuple[str, str, str, str]:
    """A client's is the same all day."""
    parts = text.split("/")
    if len(parts) != 5 or not all(word_form.fullmatch(part) for part in parts):
        raise incomplete("Credential must be KEY-ID/DATE/REGION/SERVICE/aws4_request")
    access_key_id, date, region, service, terminator = parts
    if terminator != TERMINATOR:
        raise incomplete(f"the credential's scope must end with {TERMINATOR}, not {terminator[:32]!r}")
    return access_key_id, date, region, service


@lru_cache(256)
def _signed_headers(text: str) -> tuple[str, ...]:
    """Clients have few different lists."""
    found = tuple(text.split(";"))
    if len(found) > MAX_SIGNED_HEADERS or not all(header_form.fullmatch(name) for name in found):
        raise incomplete(f"SignedHeaders must be at most {MAX_SIGNED_HEADERS} lower-case names between semicolons")
    if list(found) != sorted(set(found)):
        raise incomplete("SignedHeaders must be in alphabetical order, each name once")
    return found


def _session_token() -> SignatureRefused:
    return SignatureRefused(
        "the request brings a session token; keys of this platform have none: sign with the access key id and the "
        "secret access key of `isotherm keys create` alone, and unset AWS_SESSION_TOKEN",
        reason="session_token",
    )
