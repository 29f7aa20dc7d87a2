"""The link between a host and control: length-prefixed MessagePack over a Unix socket; the host connects.

host → control: `Hello`, then `Telemetry`, `Reply`, `Progress`.
control → host: `Welcome`, then `Desired`, `Ack`, `Order`, `Warmth`.
"""

import struct
from typing import Any, Literal

import msgspec

from isotherm.wire.desired import Desired, RevisionSpec
from isotherm.wire.queue import QueueOrder
from isotherm.wire.telemetry import Batch
from isotherm.wire.warmth import Warmth

__all__ = [
    "MAX_MESSAGE_BYTES",
    "PROTOCOL",
    "Ack",
    "FromControl",
    "FromHost",
    "Hello",
    "LinkError",
    "Order",
    "Progress",
    "Reply",
    "State",
    "Telemetry",
    "Welcome",
    "decode_from_control",
    "decode_from_host",
    "encode",
    "split_messages",
]

PROTOCOL = 2  # of `Hello` and `Welcome`; a peer of another number is turned away
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
_length = struct.Struct("<I")


class LinkError(ValueError):
    """The peer broke the protocol; the connection is dropped and made anew."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    protocol: int
    host_id: str
    boot_id: str
    isotherm_version: str
    epoch: str | None  # of the desired state that the host has on disk
    version: int
    probes: dict[str, Any]  # what `isotherm doctor` prints, by driver
    runtimes: list[str]


class Telemetry(msgspec.Struct, frozen=True, tag="telemetry"):
    batch: Batch


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """A step of an order that goes on: `unpack`, `dependencies`, `import`, `start`."""

    order_id: str
    step: str
    state: Literal["running", "done", "failed", "cached"]
    message: str = ""
    elapsed_ms: float = 0.0


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    """The end of an order. `problem` is an RFC 9457 object (see `base.errors`) where it failed."""

    order_id: str
    problem: dict[str, Any] | None = None
    result: dict[str, Any] = msgspec.field(default_factory=dict)


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    protocol: int
    isotherm_version: str


class State(msgspec.Struct, frozen=True, tag="desired"):
    desired: Desired


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    boot_id: str
    sequence: int


class Order(msgspec.Struct, frozen=True, kw_only=True, tag="order"):
    """Something control asks a host to do once.

    prepare  unpack, install dependencies, import, have `instances` started, as far as limits and memory let it;
             result: {"template": bool, "unfit": [str]}
    forget   stop the revision's template and instances; result: {}
    states   result: {"states": [WorkloadState, …]}
    queue    see `wire.queue.QueueOrder`; result: {"answer": what it says there}
    """

    id: str
    verb: Literal["prepare", "forget", "states", "queue"]
    timeout_s: float
    revision: RevisionSpec | None = None
    queue: QueueOrder | None = None
    instances: int = 1


FromHost = Hello | Telemetry | Progress | Reply
FromControl = Welcome | State | Ack | Order | Warmth

_encoder = msgspec.msgpack.Encoder()
_from_host: msgspec.msgpack.Decoder[FromHost] = msgspec.msgpack.Decoder(FromHost)
_from_control: msgspec.msgpack.Decoder[FromControl] = msgspec.msgpack.Decoder(FromControl)


def encode(message: FromHost | FromControl) -> bytes:
    """A message with its length. Raises `LinkError` where it is over the limit."""
    payload = _encoder.encode(message)
    if len(payload) > MAX_MESSAGE_BYTES:
        raise LinkError(f"message of {len(payload)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    return _length.pack(len(payload)) + payload


def split_messages(buffer: bytearray) -> list[bytes]:
    """Take all whole messages off the front of `buffer`. Raises `LinkError`."""
    messages = []
    offset = 0
    while len(buffer) - offset >= 4:
        (length,) = _length.unpack_from(buffer, offset)
        if length > MAX_MESSAGE_BYTES:
            raise LinkError(f"message of {length} bytes is over the limit of {MAX_MESSAGE_BYTES}")
        if len(buffer) - offset - 4 < length:
            break
        messages.append(bytes(buffer[offset + 4 : offset + 4 + length]))
        offset += 4 + length
    del buffer[:offset]
    return messages


def decode_from_host(payload: bytes) -> FromHost:
    """Raises `LinkError` on anything that is not one of `FromHost`."""
    try:
        return _from_host.decode(payload)
    except msgspec.MsgspecError as exc:
        raise LinkError(f"bad message from a host: {exc}") from exc


def decode_from_control(payload: bytes) -> FromControl:
    """Raises `LinkError` on anything that is not one of `FromControl`."""
    try:
        return _from_control.decode(payload)
    except msgspec.MsgspecError as exc:
        raise LinkError(f"bad message from control: {exc}") from exc
