"""One call on its way through the pool, and who waits for its answer."""

from collections.abc import Mapping
from typing import Final, Protocol

from isotherm.base.errors import IsothermError
from isotherm.wire.telemetry import ColdCause, Source
from isotherm_runtime.frames import Flag

__all__ = ["SHADOW", "WARM", "Answer", "Call", "Carrier", "Feeder", "Sink", "StreamSink", "UploadCall"]

SHADOW: Final = "shadow"  # that of a copy of a call: it is counted for its revision, and nobody waits for it
WARM: Final = "warm"  # the source of a call that the platform makes itself; it is not counted


class Carrier(Protocol):
    """The instance that a call was sent to, as far as a call needs it."""

    id: str
    start_ms: float
    start_steps_ms: Mapping[str, float]

    def cancel(self, call: "Call") -> None:
        """Tell the instance that nobody waits for this call any more."""

    def send_piece(self, call: "Call", data: bytes) -> None:
        """Send the next piece of the request's body; the caller has seen that there is credit."""

    def send_end(self, call: "Call") -> None:
        """Say that the request's body is complete."""


class Feeder(Protocol):
    """Who has a request's body that comes in pieces."""

    def opened(self) -> None:
        """The call was sent to an instance: pieces may follow."""

    def granted(self, size: int) -> bool:
        """So much more may be sent; False where that is more than was sent before."""


class Answer(Protocol):
    """An answer that comes in pieces, as far as its sink needs it."""

    total_bytes: int  # so far

    def taken(self, size: int) -> None:
        """So much of what came is kept no more. What is never taken is never followed by more than a window."""


class Sink(Protocol):
    """Who waits for a call. Exactly one of the three is called, once. The first two return the HTTP status that went
    out."""

    def answered(self, call: "Call", flags: int, head: bytes, body: bytes, now_s: float) -> int:
        """The instance answered (a RESPONSE frame)."""

    def failed(self, call: "Call", error: IsothermError, now_s: float) -> int:
        """It did not, or the handler raised."""

    def begun(self, call: "Call", answer: Answer, flags: int, head: bytes, now_s: float) -> "StreamSink | None":
        """The answer comes in pieces; who takes them, and waits for the call from here on. None: nobody needs to."""


class StreamSink(Sink, Protocol):
    """Who waits for the rest of an answer: for pieces, then for `ended` or `failed`. An instance that keeps to the
    protocol calls for nothing else."""

    def piece(self, body: bytes) -> None:
        """The next piece. Raises `InvalidResponse` where it may not go out."""

    def ended(self, call: "Call", now_s: float) -> int:
        """That was all of it; the HTTP status that went out. Raises `InvalidResponse` where it cannot have been."""


class Call:
    """A request that was let in. Times are monotonic seconds; 0.0 is "not yet"."""

    __slots__ = (
        "alias",
        "arrived_s",
        "body",
        "carrier",
        "cold_cause",
        "cold_hint",
        "deadline_s",
        "flags",
        "head",
        "id",
        "principal_id",
        "request_bytes",
        "sent_s",
        "sink",
        "source",
        "stream",
        "tail",
        "tail_bytes",
    )

    def __init__(
        self, call_id: str, flags: int, head: bytes, body: bytes, sink: "Sink | None", arrived_s: float
    ) -> None:
        self.id = call_id
        self.flags = flags
        self.head = head
        self.body = body
        self.request_bytes = len(body)
        self.sink = sink  # None: nobody waits any more
        self.arrived_s = arrived_s
        self.sent_s = 0.0
        self.deadline_s = 0.0
        self.stream = 0
        self.carrier: Carrier | None = None
        self.cold_hint: ColdCause | None = None  # why it would be cold, should a new instance take it
        self.cold_cause: ColdCause | None = None
        self.alias = "live"
        self.source: Source = "url"
        self.principal_id: str | None = None
        self.tail: list[bytes] | None = None  # the end of its log, where the caller asked for it
        self.tail_bytes = 0

    def waited_ms(self) -> tuple[float, float]:
        """`(queue, start)`: what it waited for a busy instance and for a new one, milliseconds."""
        if self.sent_s <= self.arrived_s:
            return 0.0, 0.0
        waited = (self.sent_s - self.arrived_s) * 1000.0
        if self.cold_cause is None or self.carrier is None:
            return waited, 0.0
        if self.cold_cause in ("first", "template"):  # nothing was there: it waited for the template, too
            return 0.0, waited
        start = min(waited, self.carrier.start_ms)
        return waited - start, start


class UploadCall(Call):
    """A call whose request's body follows in pieces."""

    __slots__ = ("feeder",)

    def __init__(self, call_id: str, flags: int, head: bytes, sink: Sink, arrived_s: float, feeder: Feeder) -> None:
        super().__init__(call_id, flags | Flag.MORE, head, b"", sink, arrived_s)
        self.feeder = feeder
