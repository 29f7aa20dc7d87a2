"""One attempt of a queued call, as the pool sees who waits for it."""

from typing import Protocol

import msgspec

from isotherm.base.errors import IsothermError
from isotherm.pool.call import Answer, Call
from isotherm.queue.lane import Lane
from isotherm.queue.model import AsyncCall, QueueLimits
from isotherm.wire.desired import RevisionSpec

__all__ = ["Delivery", "Settler"]


class Settler(Protocol):
    """The queue, as far as a delivery needs it."""

    limits: QueueLimits

    def ended(self, lane: Lane, call: AsyncCall) -> None: ...

    def succeeded(self, lane: Lane, call: AsyncCall, spec: RevisionSpec, body: bytes) -> None: ...

    def failed(self, lane: Lane, call: AsyncCall, spec: RevisionSpec | None, error: IsothermError) -> None: ...


class Delivery:
    """Waits for one attempt. See `pool.call.Sink`."""

    __slots__ = ("_answer", "_call", "_lane", "_pieces", "_settler", "_spec")

    def __init__(self, settler: Settler, lane: Lane, call: AsyncCall, spec: RevisionSpec) -> None:
        self._settler = settler
        self._lane = lane
        self._call = call
        self._spec = spec
        self._answer: Answer | None = None
        self._pieces = bytearray()  # of an answer that comes in pieces: no more than a result may have, and one

    def answered(self, _call: Call, _flags: int, _head: bytes, body: bytes, _now_s: float) -> int:
        self._settler.ended(self._lane, self._call)
        self._settler.succeeded(self._lane, self._call, self._spec, body)
        return 200

    def failed(self, _call: Call, error: IsothermError, _now_s: float) -> int:
        self._settler.ended(self._lane, self._call)
        self._settler.failed(self._lane, self._call, self._spec, error)
        return error.status

    def begun(self, _call: Call, answer: Answer, _flags: int, _head: bytes, _now_s: float) -> "Delivery":
        self._answer = answer
        return self

    def piece(self, body: bytes) -> None:
        if len(self._pieces) <= self._settler.limits.max_result_bytes:
            self._pieces += body
        if self._answer is not None:
            self._answer.taken(len(body))

    def ended(self, call: Call, now_s: float) -> int:
        """What was streamed is kept as text: pieces need not be JSON, a result has to be."""
        return self.answered(call, 0, b"", msgspec.json.encode(self._pieces.decode("utf-8", "replace")), now_s)
