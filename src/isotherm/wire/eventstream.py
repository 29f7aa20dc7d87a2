"""AWS's event stream encoding (application/vnd.amazon.eventstream), as much of it as Lambda's streamed invocations use.

A message: u32 total length, u32 length of the headers, u32 CRC-32 of these eight bytes; headers; payload; u32 CRC-32 of
all before. A header: u8 length of its name, name, u8 type, and for type 7 (a string) u16 length, text. Big-endian.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from isotherm.base.errors import IsothermError

__all__ = ["CONTENT_TYPE", "Event", "decode_events", "encode_event"]

CONTENT_TYPE = "application/vnd.amazon.eventstream"
PRELUDE = struct.Struct(">III")
CRC = struct.Struct(">I")
STRING = 7
MAX_MESSAGE_BYTES = 24 * 1024 * 1024


class Event(NamedTuple):
    kind: str  # ":event-type"
    payload: bytes


def encode_event(kind: str, content_type: str, payload: bytes) -> bytes:
    """One message."""
    headers = _header(":event-type", kind) + _header(":content-type", content_type) + _header(":message-type", "event")
    lengths = struct.pack(">II", PRELUDE.size + len(headers) + len(payload) + CRC.size, len(headers))
    message = lengths + CRC.pack(zlib.crc32(lengths)) + headers + payload
    return message + CRC.pack(zlib.crc32(message))


def decode_events(data: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream that comes in parts of any size. Raises `IsothermError` where it is none or breaks off."""
    buffer = b""
    for part in data:
        buffer += part
        while len(buffer) >= PRELUDE.size:
            total, headers, check = PRELUDE.unpack_from(buffer)
            if zlib.crc32(buffer[:8]) != check or not PRELUDE.size + headers + CRC.size <= total <= MAX_MESSAGE_BYTES:
                raise IsothermError("the answer is not an event stream")
            if len(buffer) < total:
                break
            yield _event(buffer[:total], headers)
            buffer = buffer[total:]
    if buffer:
        raise IsothermError("the event stream broke off in the middle of an event")


def _event(message: bytes, headers: int) -> Event:
    end = len(message) - CRC.size
    if zlib.crc32(message[:end]) != CRC.unpack_from(message, end)[0]:
        raise IsothermError("an event of the stream is damaged")
    start = PRELUDE.size
    return Event(_names(message[start : start + headers]).get(":event-type", ""), message[start + headers : end])


def _names(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    while data:
        name, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
        if len(rest) < 3 or rest[0] != STRING:
            raise IsothermError("an event of the stream has a header that is no string")
        length = int.from_bytes(rest[1:3])
        found[name.decode("utf-8", "replace")] = rest[3 : 3 + length].decode("utf-8", "replace")
        data = rest[3 + length :]
    return found


def _header(name: str, value: str) -> bytes:
    text = value.encode()
    return bytes((len(name),)) + name.encode() + struct.pack(">BH", STRING, len(text)) + text
