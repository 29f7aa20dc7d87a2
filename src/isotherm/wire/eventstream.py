"""AWS's event stream encoding (application/vnd.amazon.eventstream), as much of it as Lambda's streamed invocations use.

A message: u32 total length, u32 length of the headers, u32 CRC-32 of these eight bytes; headers; payload; u32 CRC-32 of
all before. A header: u8 length of its name, name, u8 type, and for type 7 (a string) u16 length, text. Big-endian.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from isotherm.base.errors import IsothermError

__all__ = ["CONTENT_TYPE", "Event", "EventDecoder", "encode_event"]

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


class EventDecoder:
    """Puts events together from parts of any size."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, part: bytes) -> Iterator[Event]:
        """The events that are complete with it. Raises `IsothermError` where this is no event stream."""
        self._buffer += part
        while len(self._buffer) >= PRELUDE.size:
            total, headers, check = PRELUDE.unpack_from(self._buffer)
            fits = PRELUDE.size + headers + CRC.size <= total <= MAX_MESSAGE_BYTES
            if zlib.crc32(self._buffer[:8]) != check or not fits:
                raise IsothermError("the answer is not an event stream")
            if len(self._buffer) < total:
                return
            message, self._buffer = self._buffer[:total], self._buffer[total:]
            yield _event(message, headers)


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
