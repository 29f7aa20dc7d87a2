"""The bytes of a call by each way, and what its answer means."""

from isotherm.replay.client import Answer
from isotherm.replay.model import Way
from isotherm.wire.eventstream import CONTENT_TYPE, encode_event

__all__ = ["PIECES", "is_crash", "is_good", "request", "request_head", "what_was_said"]

PIECES = 4  # of a streamed answer; the last one says what was slept and held
PATHS = {
    Way.INVOKE: "/2015-03-31/functions/{}/invocations",
    Way.EVENT: "/2015-03-31/functions/{}/invocations",
    Way.STREAM: "/2021-11-15/functions/{}/response-streaming-invocations",
}
HEADERS = {
    Way.INVOKE: "",
    Way.EVENT: "X-Amz-Invocation-Type: Event\r\n",
    Way.STREAM: f"Accept: {CONTENT_TYPE}\r\n",
}
BODIES = {
    Way.INVOKE: b'{"u":%.6f,"v":%.6f}',
    Way.EVENT: b'{"u":%.6f,"v":%.6f}',
    Way.STREAM: b'{"u":%%.6f,"v":%%.6f,"pieces":%d}' % PIECES,
}
ANSWER = b'"slept_ms"'  # of a stand-in
COMPLETE = encode_event("InvokeComplete", "application/json", b"{}")  # the end of a stream that did not fail
SHOWN = 300


def request_head(way: Way, host: str, key: str, function: str) -> bytes:
    """The head of a request; every body of a way has the same length."""
    length = len(BODIES[way] % (0.0, 0.0))
    return (
        f"POST {PATHS[way].format(function)} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"{HEADERS[way]}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def request(head: bytes, way: Way, u: float, v: float) -> bytes:
    """A whole request. `u` and `v` in [0, 1) say where in its distributions the call lies."""
    return head + BODIES[way] % (u, v)


def is_good(way: Way, answer: Answer) -> bool:
    """Whether the stand-in's own answer came, whole; of an Event, whether it was accepted. On Invoke a handler's error
    has status 200, too, and on a stream every error has."""
    if way is Way.EVENT:
        return answer.status == 202
    good = answer.status == 200 and ANSWER in answer.body
    return good and (way is Way.INVOKE or answer.body.endswith(COMPLETE))


def is_crash(answer: Answer) -> bool:
    """Whether the platform says that the instance ended during the call."""
    return b"instance_crashed" in answer.body


def what_was_said(answer: Answer) -> str:
    """An error in words, for the report."""
    body = answer.body
    failed = body.rfind(b'{"ErrorCode"')  # the last event of a stream
    shown = body[failed:] if failed >= 0 else body
    return f"{answer.status}: {answer.error or shown[:SHOWN].decode(errors='replace')}"
