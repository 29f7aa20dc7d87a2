"""What a client names first: real ClientHellos and requests, and whatever else may come."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.egress.sniff import sniff


def hello(name: str | None) -> bytes:
    """What Python's TLS client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(message: bytes, size: int) -> bytes:
    """The same handshake cut into records of `size` bytes."""
    body = message[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(message[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_the_server_name_of_tls_is_found() -> None:
    assert sniff(hello("Api.Example.com")).names == ("api.example.com",)
    assert sniff(hello(None)).names == ()
    assert sniff(in_records(hello("api.example.com"), 7)).names == ("api.example.com",)


def test_a_part_of_a_hello_is_waited_for() -> None:
    whole = hello("api.example.com")
    assert all(not sniff(whole[:size]).complete for size in (1, 4, 5, 9, len(whole) - 1))
    assert sniff(whole).complete


@pytest.mark.parametrize(
    ("first", "names"),
    [
        (b"GET / HTTP/1.1\r\nHost: Api.Example.com:8080\r\n\r\n", ("api.example.com",)),
        (b"GET / HTTP/1.1\r\nHost: a.com\r\nhost : b.com\r\n\r\n", ("a.com", "b.com")),
        (b"GET http://x@b.com:80/p HTTP/1.1\r\nHost: a.com\r\n\r\n", ("b.com", "a.com")),
        (b"CONNECT b.com:443 HTTP/1.1\r\n\r\n", ("b.com",)),
        (b"FROB / HTTP/1.1\nHost: a.com\n\n", ("a.com",)),
        (b"\r\n\r\nGET / HTTP/1.0\r\nHost: a.com\r\n\r\n", ("a.com",)),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", ("2001:db8::1",)),
        (b"GET / HTTP/1.1\r\nHost: a\x1b[31m.com\r\n\r\n", ("a?[31m.com",)),
        (b"GET / HTTP/1.1\r\nX: y\r\n\r\n", ()),
        (b"*1\r\n$4\r\nPING\r\n", ()),
        (b"EHLO me\r\n", ()),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", ()),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ()),
    ],
)
def test_the_hosts_of_a_request_are_found(first: bytes, names: tuple[str, ...]) -> None:
    seen = sniff(first)
    assert (seen.names, seen.complete) == (names, True)


@pytest.mark.parametrize("first", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a.com\r\n", b"GET /" + b"a" * 9000])
def test_a_part_of_a_request_is_waited_for(first: bytes) -> None:
    assert not sniff(first).complete


def test_what_only_begins_like_tls_is_refused() -> None:
    for first in (b"\x16\x03\x01\x00\x00", b"\x16\x02\x01\x00\x05hello", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"):
        with pytest.raises(ValueError, match=r"TLS|ClientHello"):
            sniff(first)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c", b"GET / HTTP/1.1\r\n"]))
def test_any_bytes_are_looked_at_or_refused(first: bytes, start: bytes) -> None:
    try:
        sniff(start + first)
    except ValueError:
        return
