"""Which host a client names in what it says first: TLS's server name, HTTP/1's Host. Pure; reads, changes nothing.

One address may serve many hosts. Where a connection was let through for one of them, it must not ask for another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["MAX_FIRST_BYTES", "Sniffed", "sniff"]

MAX_FIRST_BYTES = 64 * 1024
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_in_a_line = frozenset(range(0x20, 0x7F)) | {0x09, 0x0D}


@dataclass(frozen=True, slots=True)
class Sniffed:
    """`names`: in lower case, without port; empty where it names none. `complete` False: more must come first."""

    names: tuple[str, ...] = ()
    complete: bool = True


_MORE = Sniffed(complete=False)
_NOTHING = Sniffed()


def sniff(first: bytes) -> Sniffed:
    """What the first bytes of a connection say. Raises `ValueError` where they begin like TLS and are not."""
    if first[:1] == b"\x16":
        return _tls(first)
    text = first.lstrip(b"\r\n")  # servers skip empty lines before a request
    line, end, _ = text.partition(b"\n")
    if not end:
        return _MORE if _in_a_line.issuperset(line) else _NOTHING
    return _http(text) if line.rstrip().rpartition(b" ")[2].upper().startswith(b"HTTP/1") else _NOTHING


def _http(first: bytes) -> Sniffed:
    head, end, _ = first.partition(b"\r\n\r\n")
    if not end:
        head, end, _ = first.partition(b"\n\n")
    if not end:
        return _MORE
    request, *fields = head.split(b"\n")
    parts = request.split()
    names = []
    if len(parts) > 1 and (b"://" in parts[1] or parts[0] == b"CONNECT"):
        names.append(_host(parts[1].rpartition(b"://")[2].partition(b"/")[0].rpartition(b"@")[2]))
    for field in fields:
        name, colon, value = field.partition(b":")
        if colon and name.strip().lower() == b"host":
            names.append(_host(value.strip()))
    return Sniffed(tuple(dict.fromkeys(names)))


def _host(text: bytes) -> str:
    """Without its port."""
    decoded = "".join(each if each.isprintable() else "?" for each in text.decode("latin-1").lower())
    if decoded.startswith("["):
        return decoded[1:].partition("]")[0]
    return decoded.partition(":")[0].rstrip(".")


def _tls(first: bytes) -> Sniffed:
    """RFC 8446, 4.1.2 and 5.1: a ClientHello, in one record or several."""
    message, rest = b"", first
    while len(rest) >= 5:
        size = int.from_bytes(rest[3:5], "big")
        if rest[0] != _HANDSHAKE or rest[1] != 3 or not size:
            raise ValueError("a record that is no handshake of TLS")
        message += rest[5 : 5 + size]
        rest = rest[5 + size :]
        if len(message) >= 4 and len(message) - 4 >= int.from_bytes(message[1:4], "big"):
            break
    if len(message) < 4:
        return _MORE
    if message[0] != _CLIENT_HELLO:
        raise ValueError("a handshake that begins with no ClientHello")
    size = int.from_bytes(message[1:4], "big")
    return Sniffed(tuple(_server_names(message[4 : 4 + size]))) if len(message) - 4 >= size else _MORE


def _server_names(hello: bytes) -> Iterator[str]:
    position = 2 + 32  # version, random
    for width in (1, 2, 1):  # session id, cipher suites, compression methods
        position += width + _number(hello, position, width)
    if position == len(hello):
        return  # no extensions
    end = position + 2 + _number(hello, position, 2)
    position += 2
    while position < end:
        kind, size = _number(hello, position, 2), _number(hello, position + 2, 2)
        if kind == _SERVER_NAME:
            yield from _names_in(hello[position + 4 : position + 4 + size])
        position += 4 + size


def _names_in(extension: bytes) -> Iterator[str]:
    """RFC 6066, 3."""
    position = 2
    while position < len(extension):
        kind, size = _number(extension, position, 1), _number(extension, position + 1, 2)
        if kind == _HOST_NAME:
            yield _host(extension[position + 3 : position + 3 + size])
        position += 3 + size


def _number(data: bytes, position: int, width: int) -> int:
    """Raises `ValueError` where the data ends before."""
    if position + width > len(data):
        raise ValueError("a ClientHello that ends early")
    return int.from_bytes(data[position : position + width], "big")
