"""Lambda's InvokeWithResponseStream: an answer as a stream of events, whether the function streams or not."""

import json
from collections.abc import Callable

from isotherm.base.errors import InvalidResponse, IsothermError
from isotherm.gateway.download import Client, Paced
from isotherm.pool.call import Answer, Call, StreamSink
from isotherm.wire.eventstream import encode_event

__all__ = ["OF_THE_FUNCTION", "EventAnswer"]

OF_THE_FUNCTION = frozenset(("handler_failed", "invalid_response", "timed_out", "out_of_memory", "instance_crashed"))


class EventAnswer(Paced):
    """PayloadChunk events, then InvokeComplete, which says what failed. A refusal of the platform's own is an ordinary
    error, as long as nothing has gone out."""

    def __init__(
        self,
        client: Client,
        open_stream: Callable[[Call, float], bool],
        error_of: Callable[[Call, IsothermError], dict[str, object]],
        log_of: Callable[[Call, float], str | None],
    ) -> None:
        super().__init__(client)
        self._open_stream = open_stream  # sends the head; whether the body goes in chunks
        self._error_of = error_of
        self._log_of = log_of
        self._chunked: bool | None = None  # None: nothing has gone out

    def answered(self, call: Call, flags: int, head: bytes, body: bytes, now_s: float) -> int:
        if self._chunked is not None or flags & 1:
            raise InvalidResponse("the instance answered a streamed Invoke with a head, or anew in its middle")
        self._chunked = self._open_stream(call, now_s)
        self._send("PayloadChunk", "application/octet-stream", body)
        return self.ended(call, now_s)

    def begun(self, call: Call, answer: Answer, flags: int, head: bytes, now_s: float) -> StreamSink:
        if self._chunked is not None or flags & 1:
            raise InvalidResponse("the instance answered a streamed Invoke with a head, or anew in its middle")
        self._chunked = self._open_stream(call, now_s)
        self.answer = answer
        return self

    def piece(self, body: bytes) -> None:
        self._send("PayloadChunk", "application/octet-stream", body)
        self.went(len(body))

    def ended(self, call: Call, now_s: float) -> int:
        self._complete(call, now_s, {})
        return 200

    def failed(self, call: Call, error: IsothermError, now_s: float) -> int:
        if self._chunked is None:
            if error.code not in OF_THE_FUNCTION:
                return self.client.failed(call, error, now_s)
            self._chunked = self._open_stream(call, now_s)
        details = json.dumps(self._error_of(call, error))
        self._complete(call, now_s, {"ErrorCode": "Unhandled", "ErrorDetails": details})
        return 200

    def _complete(self, call: Call, now_s: float, fields: dict[str, str]) -> None:
        log = self._log_of(call, now_s)
        if log is not None:
            fields["LogResult"] = log
        self._send("InvokeComplete", "application/json", json.dumps(fields).encode())
        if self._chunked:
            self.client.send(b"0\r\n\r\n")
        self.client.finish()

    def _send(self, kind: str, content_type: str, payload: bytes) -> None:
        message = encode_event(kind, content_type, payload)
        if self._chunked:
            self.client.send(b"%x\r\n" % len(message), message, b"\r\n")
        else:
            self.client.send(message)
