"""The sandbox protocol: frames on one stream between the host process and an instance.

A frame is a fixed header, a JSON head and a raw body:

    u32 length       bytes after the header: head and body
    u32 head_length  bytes of the head, the first part
    u32 stream       which call (0: the instance itself); chosen by the host, never reused on a connection
    u32 deadline_ms  REQUEST: milliseconds left; WINDOW: bytes granted; otherwise 0
    u8  kind         one of `Kind`
    u8  flags        one of `Flag`, or-ed
    u16 reserved     0

Heads (JSON, UTF-8; `?` may be null):

    HELLO     <  {"v": 1, "runtime": str, "import_ms": float}     the instance can take requests
    REQUEST    > [request_id, client_context?]                    the body is the event, as JSON
    REQUEST    > [request_id, client_context?, qualifier, version]
                                                                  the call named an alias or a version, which is this
    REQUEST    > [request_id, time_ms][method, path, query, [[name, value], …], source_ip, domain]   with Flag.HTTP:
                                                                  what differs, then what repeats, so that it can be
                                                                  remembered; the body is the request's body, raw
    RESPONSE  <  (empty)                                          200, application/json; the body is the answer
    RESPONSE  <  [status, [[name, value], …], [set-cookie, …]]    with Flag.HTTP
    ERROR     <  {"kind": ErrorKind, "error_type": str, "error_message": str, "stack_trace": [str, …]}
                                                                  of a call, or (stream 0) of the instance: it will exit
    LOG       <  [time_ms, level?]                                the body is text; stream 0: of no call
    CANCEL     > (empty)                                          nobody waits for this call any more
    PING      <> (empty)                                          answered by the same frame
    DRAIN      > (empty)                                          no more requests come: finish and exit
    CHUNK     <> (empty)                                          the body is the next piece of a streamed body
    END       <> (empty)                                          the streamed body is complete
    END       <  as ERROR                                         it broke off, and why
    WINDOW    <> (empty)                                          so many bytes more may be sent of a streamed body
    DEBUG      > (empty)                                          a debugger attaches: CHUNK, END and WINDOW frames of
                                                                  this stream are its bytes, both ways

A body may come in pieces (docs/adr/0015-streaming.md). Its REQUEST or RESPONSE has Flag.MORE, and a body that is the
first piece, or empty; CHUNK frames follow, then END. Whoever sends it may have sent at most `WINDOW_BYTES` of body
beyond what the other side has granted. A call whose answer has begun ends with END and nothing else. CANCEL ends a
call with a streamed body as any other: the instance lets go of the handler's generator, then sends END or ERROR.
"""

from __future__ import annotations

import enum
import struct

__all__ = [
    "HEADER",
    "MAX_BODY_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_HEAD_BYTES",
    "MAX_PIECE_BYTES",
    "PROTOCOL_VERSION",
    "WINDOW_BYTES",
    "ErrorKind",
    "Flag",
    "FrameError",
    "Kind",
    "pack_frame",
    "split_frames",
]

PROTOCOL_VERSION = 1
HEADER = struct.Struct("<IIIIBBH")
MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_FRAME_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES
WINDOW_BYTES = 256 * 1024
MAX_PIECE_BYTES = 64 * 1024  # of a CHUNK frame: longer pieces are cut, so that calls beside them get their turns


class Kind(enum.IntEnum):
    HELLO = 1
    REQUEST = 2
    RESPONSE = 3
    CHUNK = 4
    END = 5
    ERROR = 6
    CANCEL = 7
    WINDOW = 8
    PING = 9
    DRAIN = 10
    LOG = 11
    DEBUG = 12


class Flag(enum.IntFlag):
    NONE = 0
    HTTP = 1  # REQUEST: a function URL's request; RESPONSE: has a head
    MORE = 2  # REQUEST, RESPONSE: CHUNK frames follow, then END
    TRUNCATED = 4  # LOG: the invocation's log limit was reached


class ErrorKind(enum.StrEnum):
    HANDLER = "handler"  # the handler raised
    IMPORT = "import"  # its module could not be imported, or has no such function
    RESPONSE = "response"  # what it returned is not JSON, or too large
    REQUEST = "request"  # the event is not JSON
    CANCELLED = "cancelled"  # an async handler was cancelled at its deadline
    EXIT = "exit"  # the handler called sys.exit()
    INTERNAL = "internal"  # the runtime failed


class FrameError(ValueError):
    """The peer broke the protocol; the connection is of no more use."""


def pack_frame(
    kind: int, stream: int = 0, head: bytes = b"", body: bytes = b"", *, flags: int = 0, deadline_ms: int = 0
) -> bytes:
    """One frame as bytes. Raises `FrameError` where head or body is over its limit."""
    if len(head) > MAX_HEAD_BYTES or len(body) > MAX_BODY_BYTES:
        raise FrameError(f"frame too large: head {len(head)}, body {len(body)} bytes")
    return HEADER.pack(len(head) + len(body), len(head), stream, deadline_ms, kind, flags, 0) + head + body


def split_frames(
    buffer: bytes | bytearray, max_frame_bytes: int = MAX_FRAME_BYTES
) -> tuple[list[tuple[int, int, int, int, bytes, bytes]], int]:
    """All whole frames at the start of `buffer`, and how many bytes they take.

    A frame comes as `(kind, flags, stream, deadline_ms, head, body)`. Raises `FrameError`.
    """
    frames = []
    offset, end = 0, len(buffer)
    view = bytes(buffer)
    while end - offset >= HEADER.size:
        length, head_length, stream, deadline_ms, kind, flags, _ = HEADER.unpack_from(view, offset)
        if length > max_frame_bytes or head_length > length or head_length > MAX_HEAD_BYTES:
            raise FrameError(f"frame of {length} bytes with a head of {head_length} is over the limit")
        start = offset + HEADER.size
        if end - start < length:
            break
        middle = start + head_length
        frames.append((kind, flags, stream, deadline_ms, view[start:middle], view[middle : start + length]))
        offset = start + length
    return frames, offset
