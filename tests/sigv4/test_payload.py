"""Bodies in pieces, held against what was signed of them; AWS's published chunks; chunks of every size and fault."""

import hashlib
import hmac
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.chunks import ChunkedBody, ChunkSigner, chunked_body, decoded_headers
from isotherm.sigv4.model import SIGNED_STREAM, SIGNED_STREAM_TRAILER, UNSIGNED_STREAM_TRAILER, Headers, Sent, Signature
from isotherm.sigv4.parsing import parse_signature, sent_headers
from isotherm.sigv4.payload import DigestCheck, PayloadCheck
from isotherm.sigv4.policy import check_signature, derive_key
from tests.sigv4.requests import EMPTY, digest

TARGET = b"/examplebucket/chunkObject.txt"
CREDENTIAL = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
KEY = derive_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
BODY = b"a" * 66560
HOST: tuple[bytes, bytes] = (b"Host", b"s3.amazonaws.com")
COMMON: Headers = [
    HOST,
    (b"x-amz-date", b"20130524T000000Z"),
    (b"x-amz-storage-class", b"REDUCED_REDUNDANCY"),
    (b"Content-Encoding", b"aws-chunked"),
    (b"x-amz-decoded-content-length", b"66560"),
]
SIGNED = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length"
PLAIN = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
]
TRAILED = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
]
TRAILER = b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
TRAILER_SIGNATURE = b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


def published(payload: str, names: str, signature: str, *extra: tuple[bytes, bytes]) -> tuple[Signature, Sent]:
    value = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders={names},Signature={signature}"
    headers = [*COMMON, *extra, (b"x-amz-content-sha256", payload.encode()), (b"Authorization", value.encode())]
    sent = sent_headers(headers)
    return parse_signature(TARGET, sent), sent


def plain() -> tuple[Signature, Sent]:
    return published(
        SIGNED_STREAM,
        f"{SIGNED};x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        (b"Content-Length", b"66824"),
    )


def trailed() -> tuple[Signature, Sent]:
    return published(
        SIGNED_STREAM_TRAILER,
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
        (b"x-amz-trailer", b"x-amz-checksum-crc32c"),
    )


def encoded(signatures: list[str], end: bytes) -> bytes:
    parts = [b"10000;chunk-signature=%b\r\n%b\r\n" % (signatures[0].encode(), BODY[:65536])]
    parts.append(b"400;chunk-signature=%b\r\n%b\r\n" % (signatures[1].encode(), BODY[65536:]))
    parts.append(b"0;chunk-signature=%b\r\n%b" % (signatures[2].encode(), end))
    return b"".join(parts)


def run(check: PayloadCheck, data: bytes, cuts: Iterable[int] = ()) -> bytes:
    """What comes out of `data`, fed in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    body = b"".join(check.feed(data[start:stop]) for start, stop in pairwise(places))
    check.end()
    return body


def test_the_published_heads_hold() -> None:
    for signature, sent in (plain(), trailed()):
        assert signature.payload is not None
        check_signature(signature, KEY, b"PUT", TARGET, sent, signature.payload)


def test_the_published_chunks_hold() -> None:
    signature, sent = plain()
    assert run(chunked_body(signature, KEY, sent), encoded(PLAIN, b"\r\n")) == BODY


def test_the_published_trailer_holds() -> None:
    signature, sent = trailed()
    check = chunked_body(signature, KEY, sent)
    end = TRAILER + b"x-amz-trailer-signature:" + TRAILER_SIGNATURE + b"\r\n\r\n"
    assert run(check, encoded(TRAILED, end)) == BODY
    assert check.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (b"\r\n", "trailer 'x-amz-checksum-crc32c' did not come"),
        (TRAILER + b"\r\n", "no x-amz-trailer-signature"),
        (TRAILER + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n\r\n", "signature of the trailer"),
        (TRAILER.replace(b"sOO8", b"sOO9") + b"x-amz-trailer-signature:" + TRAILER_SIGNATURE + b"\r\n\r\n", "trailer"),
        (TRAILER * 2, "comes twice"),
        (b"x-amz-other:1\r\n", "not announced"),
        (TRAILER + b"x-amz-trailer-signature:" + TRAILER_SIGNATURE + b"\r\n", "last chunk did not come"),
        (TRAILER + b"x-amz-trailer-signature:" + TRAILER_SIGNATURE + b"\r\n\r\n\r\n", "follows its last chunk"),
    ],
)
def test_another_trailer_is_refused(end: bytes, says: str) -> None:
    signature, sent = trailed()
    with pytest.raises(SignatureRefused, match=says) as refused:
        run(chunked_body(signature, KEY, sent), encoded(TRAILED, end))
    assert refused.value.data["reason"] == "payload"


# -- chunks that are made here ----------------------------------------------------------------------------------------

SEED = Signature(
    access_key_id="AK", date="20150830", region="local", service="lambda", time="20150830T123600Z",
    signed_headers=("host",), signature="ab" * 32, payload=SIGNED_STREAM,
)  # fmt: skip
SEED_KEY = bytes(32)


def signed_chunks(parts: list[bytes]) -> bytes:
    """By the published rule, written anew: each signature covers the one before it."""
    last, out = SEED.signature, b""
    for part in [*parts, b""]:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{SEED.time}\n{SEED.scope}\n{last}\n{EMPTY}\n{digest(part)}"
        last = hmac.new(SEED_KEY, text.encode(), hashlib.sha256).hexdigest()
        out += b"%x;chunk-signature=%b\r\n" % (len(part), last.encode())
        out += part + b"\r\n"
    return out


def signed_body(length: int) -> ChunkedBody:
    return ChunkedBody(ChunkSigner(SEED, SEED_KEY), None, length)


parts = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(parts, st.lists(st.integers(min_value=0), max_size=8))
def test_chunks_of_any_size_cut_anywhere_give_the_body(given_parts: list[bytes], cuts: list[int]) -> None:
    body = b"".join(given_parts)
    assert run(signed_body(len(body)), signed_chunks(given_parts), cuts) == body
    plain_chunks = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in given_parts) + b"0\r\na:1\r\n\r\n"
    check = ChunkedBody(None, ["a"], len(body))
    assert run(check, plain_chunks, cuts) == body
    assert check.trailers == {"a": "1"}


@given(parts, st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_signed_body_with_any_byte_changed_or_cut_off_is_refused(
    given_parts: list[bytes], place: int, change: int
) -> None:
    data = signed_chunks(given_parts)
    length = len(b"".join(given_parts))
    at = place % len(data)
    changed = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]
    if changed.lower() == data.lower():
        return  # the case of a size's digits says nothing
    for other in (changed, data[:at], data + b"\r\n", data + data):
        with pytest.raises(SignatureRefused):
            run(signed_body(length), other)


def test_chunks_do_not_change_places() -> None:
    data = signed_chunks([b"one", b"two"])
    lines = data.split(b"\r\n")
    swapped = b"\r\n".join([*lines[2:4], *lines[:2], *lines[4:]])
    with pytest.raises(SignatureRefused, match="signature of a chunk"):
        run(signed_body(6), swapped)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"5\r\nhello\r\n0\r\na:1\r\n\r\n", "has 5 bytes; x-amz-decoded-content-length says 6"),
        (b"7\r\n", "more bytes than"),
        (b"ffffffff1\r\n", "does not begin a chunk"),
        (b"-1\r\n", "does not begin a chunk"),
        (b"5;chunk-signature=00\r\n", "does not begin a chunk"),
        (b"5\nhello\r\n", "does not end with CR LF"),
        (b"3\r\nhello\r\n", "longer than it says"),
        (b"5" * 2000, "more than 1024 bytes"),
        (b"0\r\n" + b"a:" + b"x" * 2000, "more than 1024 bytes"),
        (b"6\r\nhello!\r\n", "last chunk did not come"),
        (b"", "last chunk did not come"),
    ],
)
def test_chunks_that_are_not_are_refused_in_bounded_memory(data: bytes, says: str) -> None:
    with pytest.raises(SignatureRefused, match=says):
        run(ChunkedBody(None, ["a"], 6), data, range(0, len(data), 100))


def test_a_body_in_chunks_says_its_length_once() -> None:
    signature, sent = plain()
    for lengths in ([], ["66560", "66560"], ["-1"], ["6 6"], ["1" * 16]):
        with pytest.raises(SignatureRefused, match="x-amz-decoded-content-length"):
            chunked_body(signature, KEY, sent | {"x-amz-decoded-content-length": lengths})
    many = sent | {"x-amz-trailer": [",".join(f"t{number}" for number in range(17))]}
    with pytest.raises(SignatureRefused, match="more than 16 trailers"):
        chunked_body(published(UNSIGNED_STREAM_TRAILER, SIGNED, "0" * 64)[0], KEY, many)


def test_the_headers_of_the_decoded_body_do_not_speak_of_chunks() -> None:
    sent = [
        (b"Content-Encoding", b"gzip, AWS-Chunked"),
        (b"content-length", b"99"),
        (b"X-Amz-Decoded-Content-Length", b"12"),
        (b"X-Amz-Trailer", b"t"),
        (b"Accept", b"*"),
    ]
    assert decoded_headers(sent) == [(b"Content-Encoding", b"gzip"), (b"Accept", b"*"), (b"content-length", b"12")]
    assert decoded_headers([(b"content-encoding", b"aws-chunked")]) == []


@given(st.binary(max_size=40), st.lists(st.integers(min_value=0), max_size=4))
def test_a_digest_holds_for_its_body_alone(body: bytes, cuts: list[int]) -> None:
    assert run(DigestCheck(digest(body)), body, cuts) == body
    with pytest.raises(SignatureRefused, match="does not have the digest"):
        run(DigestCheck(digest(body)), body + b"x", cuts)
