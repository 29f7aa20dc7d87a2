"""`aws-chunked`: a body in chunks of its own beside HTTP's, each signed in a chain that begins with the head, or none.

Source: Amazon S3, "Signature calculations: multiple chunks" and "Including trailing headers". Memory is bounded by a
line; what is in a chunk goes on as it comes, and the chunk's signature is checked when its last byte has come.
"""

import hashlib
import hmac
import re
from collections.abc import Collection

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.model import ALGORITHM, SIGNED_STREAM, SIGNED_STREAM_TRAILER, Headers, Sent, Signature
from isotherm.sigv4.payload import payload_mismatch

__all__ = ["ChunkSigner", "ChunkedBody", "chunked_body", "decoded_headers"]

MAX_LINE_BYTES = 1024
MAX_TRAILERS = 16
MAX_SIZE_DIGITS = 8  # of a chunk, in hex: below 4 GiB
EMPTY = hashlib.sha256(b"").hexdigest()
TRAILER_SIGNATURE = "x-amz-trailer-signature"
LENGTH = "x-amz-decoded-content-length"
NAMES = "x-amz-trailer"

length_form = re.compile(r"[0-9]{1,15}")
plain_line = re.compile(rb"([0-9a-fA-F]{1,%d})" % MAX_SIZE_DIGITS)
signed_line = re.compile(rb"([0-9a-fA-F]{1,%d});chunk-signature=([0-9a-f]{64})" % MAX_SIZE_DIGITS)


class ChunkSigner:
    """The chain of signatures: each covers the one before it."""

    def __init__(self, signature: Signature, signing_key: bytes) -> None:
        self._place = f"{signature.time}\n{signature.scope}"
        self._key = signing_key
        self._last = signature.signature

    def chunk(self, digest: str, given: str) -> None:
        """Raises `SignatureRefused` (payload) where a chunk of this SHA-256, in hex, has another signature."""
        self._check(f"{ALGORITHM}-PAYLOAD\n{self._place}\n{self._last}\n{EMPTY}\n{digest}", given, "a chunk")

    def trailer(self, lines: str, given: str) -> None:
        """Raises `SignatureRefused` (payload)."""
        digest = hashlib.sha256(lines.encode("latin-1")).hexdigest()
        self._check(f"{ALGORITHM}-TRAILER\n{self._place}\n{self._last}\n{digest}", given, "the trailer")

    def _check(self, text: str, given: str, what: str) -> None:
        expected = hmac.digest(self._key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(expected, given):
            raise payload_mismatch(f"the signature of {what} does not match")
        self._last = expected


class ChunkedBody:
    """Takes `aws-chunked` apart. `signer` None: its chunks are not signed. `trailers`: names that may follow, None:
    there is no trailer. `length`: what the head says of the decoded body. See `PayloadCheck`."""

    def __init__(self, signer: ChunkSigner | None, trailers: Collection[str] | None, length: int) -> None:
        self.trailers: dict[str, str] = {}
        self._signer = signer
        self._names = trailers
        self._length = length
        self._total = 0
        self._line = b""
        self._left = 0  # bytes of the chunk that are still to come
        self._given = ""  # the chunk's signature
        self._sum = hashlib.sha256()
        self._take_line = self._size_line

    def feed(self, data: bytes) -> bytes:
        parts = []
        at = 0
        while at < len(data):
            if self._left:
                part = data[at : at + self._left]
                self._left -= len(part)
                at += len(part)
                if self._signer is not None:
                    self._sum.update(part)
                parts.append(part)
                continue
            end = data.find(b"\n", at)
            stop = len(data) if end < 0 else end + 1
            if len(self._line) + stop - at > MAX_LINE_BYTES:
                raise payload_mismatch(f"a line between its chunks has more than {MAX_LINE_BYTES} bytes")
            self._line += data[at:stop]
            at = stop
            if end >= 0:
                line, self._line = self._line, b""
                if not line.endswith(b"\r\n"):
                    raise payload_mismatch("a line between its chunks does not end with CR LF")
                self._take_line(line[:-2])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end(self) -> None:
        if self._take_line != self._nothing_more or self._line:
            raise payload_mismatch("its last chunk did not come")
        if self._total != self._length:
            raise payload_mismatch(f"it has {self._total} bytes; x-amz-decoded-content-length says {self._length}")

    # -- lines, by what may come ---------------------------------------------------------------------------------------

    def _size_line(self, line: bytes) -> None:
        form = plain_line if self._signer is None else signed_line
        match = form.fullmatch(line)
        if match is None:
            raise payload_mismatch(f"{line[:100]!r} does not begin a chunk")
        self._left = size = int(match[1], 16)
        self._total += size
        if self._total > self._length:
            raise payload_mismatch(f"it has more bytes than x-amz-decoded-content-length says, {self._length}")
        if self._signer is not None:
            self._given = match[2].decode()
        if size:
            self._take_line = self._end_of_chunk
            return
        self._check_chunk()
        self._take_line = self._end_of_body if self._names is None else self._trailer_line

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            raise payload_mismatch("a chunk is longer than it says")
        self._check_chunk()
        self._take_line = self._size_line

    def _end_of_body(self, line: bytes) -> None:
        if line:
            raise payload_mismatch("there is a trailer, which x-amz-content-sha256 does not announce")
        self._take_line = self._nothing_more

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self._check_trailer()
            self._take_line = self._nothing_more
            return
        raw, mark, value = line.decode("latin-1").partition(":")
        name = raw.strip().lower()
        known = name == TRAILER_SIGNATURE if self._signer is not None else False
        if not mark or not (known or name in (self._names or ())) or name in self.trailers:
            raise payload_mismatch(f"the trailer {name[:64]!r} is not announced by x-amz-trailer, or comes twice")
        if len(self.trailers) >= MAX_TRAILERS:
            raise payload_mismatch(f"it has more than {MAX_TRAILERS} trailers")
        self.trailers[name] = value.strip()

    def _nothing_more(self, line: bytes) -> None:
        raise payload_mismatch("something follows its last chunk")

    def _check_chunk(self) -> None:
        if self._signer is not None:
            self._signer.chunk(self._sum.hexdigest(), self._given)
            self._sum = hashlib.sha256()

    def _check_trailer(self) -> None:
        given = self.trailers.pop(TRAILER_SIGNATURE, None)
        missing = [name for name in self._names or () if name not in self.trailers]
        if missing:
            raise payload_mismatch(f"the trailer {missing[0][:64]!r} did not come")
        if self._signer is None:
            return
        if given is None:
            raise payload_mismatch(f"its trailer has no {TRAILER_SIGNATURE}")
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(self.trailers.items()))
        self._signer.trailer(lines, given)


def chunked_body(signature: Signature, signing_key: bytes, sent: Sent) -> ChunkedBody:
    """For a request whose `payload` is one of the words for it. Raises `SignatureRefused` (incomplete)."""
    lengths = sent.get(LENGTH, [])
    if len(lengths) != 1 or not length_form.fullmatch(lengths[0]):
        raise SignatureRefused(f"a body in chunks needs one header {LENGTH}, in bytes", reason="incomplete")
    signed = signature.payload in (SIGNED_STREAM, SIGNED_STREAM_TRAILER)
    trailers: list[str] | None = None
    if signature.payload != SIGNED_STREAM:
        names = ",".join(sent.get(NAMES, [])).lower().split(",")
        trailers = [name.strip() for name in names if name.strip()]
        if len(trailers) > MAX_TRAILERS:
            raise SignatureRefused(f"x-amz-trailer names more than {MAX_TRAILERS} trailers", reason="incomplete")
    return ChunkedBody(ChunkSigner(signature, signing_key) if signed else None, trailers, int(lengths[0]))


def decoded_headers(headers: Headers) -> Headers:
    """The headers of the same request with its body decoded: what spoke of the chunks is gone."""
    length: bytes | None = None
    found: Headers = []
    for name, value in headers:
        lower = name.lower().decode("latin-1")
        if lower == "content-encoding":
            value = b",".join(part for each in value.split(b",") if (part := each.strip()).lower() != b"aws-chunked")
            if not value:
                continue
        elif lower == LENGTH:
            length = value
        if lower not in (LENGTH, NAMES, "content-length"):
            found.append((name, value))
    if length is not None:
        found.append((b"content-length", length))
    return found
