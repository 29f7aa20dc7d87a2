"""The canonical request: what both sides sign. Pure, and on the way of every signed call, so it makes few objects.

Source: AWS, "Create a signed AWS API request" (Signature Version 4). Text is Latin-1 here, one character a byte.
"""

import hashlib
from urllib.parse import quote_from_bytes, unquote_to_bytes

from isotherm.sigv4.model import ALGORITHM, S3, Sent, Signature

__all__ = ["canonical_headers", "canonical_path", "canonical_query", "canonical_request", "string_to_sign"]

SIGNATURE_PARAMETER = b"X-Amz-Signature"


def canonical_request(signature: Signature, method: bytes, target: bytes, sent: Sent, payload: str) -> bytes:
    """The request as it was signed. `target` is path and query as they came; `payload` a digest in hex, or a word
    that stands for it."""
    path, _, query = target.partition(b"?")
    text = (
        f"{method.decode('latin-1')}\n{canonical_path(path, once=signature.service == S3)}\n"
        f"{canonical_query(query, in_query=signature.in_query)}\n"
        f"{canonical_headers(sent, signature.signed_headers)}\n{';'.join(signature.signed_headers)}\n{payload}"
    )
    return text.encode("latin-1")


def string_to_sign(signature: Signature, canonical: bytes) -> bytes:
    """What the signing key signs."""
    digest = hashlib.sha256(canonical).hexdigest()
    return f"{ALGORITHM}\n{signature.time}\n{signature.scope}\n{digest}".encode()


def canonical_path(path: bytes, *, once: bool) -> str:
    """S3 encodes each part of a name once and leaves the path otherwise alone. All others encode what is already
    encoded again, of the path without its empty and dot segments."""
    if once:
        return "/".join([quote_from_bytes(unquote_to_bytes(part), "") for part in path.split(b"/")]) or "/"
    if b"//" in path or b"/." in path:
        path = _without_dots(path)
    return quote_from_bytes(path) or "/"


def canonical_query(query: bytes, *, in_query: bool = False) -> str:
    """Names and values encoded anew, sorted by both. `in_query`: the signature is in it, and is left out."""
    if not query:
        return ""
    pairs = []
    for piece in query.replace(b"+", b"%20").split(b"&"):
        name, _, value = piece.partition(b"=")
        if piece and not (in_query and name == SIGNATURE_PARAMETER):  # as it is written: another spelling is signed
            pairs.append((quote_from_bytes(unquote_to_bytes(name), ""), quote_from_bytes(unquote_to_bytes(value), "")))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def canonical_headers(sent: Sent, signed: tuple[str, ...]) -> str:
    """A line for each signed header: values of the same name in the order in which they came, spaces run together.
    One that was not sent has no value."""
    lines = []
    for name in signed:
        values = sent.get(name, ())
        text = values[0] if len(values) == 1 else ",".join([_single_spaced(value) for value in values])
        lines.append(f"{name}:{_single_spaced(text)}\n")
    return "".join(lines)


def _single_spaced(text: str) -> str:
    """Not `str.split()` alone, which would take other bytes than these for space as well."""
    if " " not in text and "\t" not in text:
        return text
    return " ".join([part for part in text.replace("\t", " ").split(" ") if part])


def _without_dots(path: bytes) -> bytes:
    """RFC 3986, section 5.2.4, and runs of slashes as one."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    ends = path.endswith(b"/") and kept
    return b"/" + b"/".join(kept) + (b"/" if ends else b"")
