"""Heads of requests that came before on any connection, by their bytes: what they parse to, and what was made of them.

At a message boundary equal bytes parse equally. A client that calls many functions over each of its connections sends
no head twice in a row, so one memory of heads serves all connections of a port.
"""

from isotherm.gateway.request import Request

__all__ = ["KnownHeads"]

HEAD_END = b"\r\n\r\n"
MAX_HEADS = 4096
MAX_BYTES = 4 * 1024 * 1024
MAX_SEEN = 16 * 1024


class KnownHeads:
    """A head is kept when it comes for the second time: those with a trace id in them come once, and cost little."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, bytes], Request] = {}  # by address of the client, too: plans depend on it
        self._bytes = 0
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._requests)

    def take(self, data: bytes, source_ip: str, now_s: float) -> Request | None:
        """The request that is the whole of `data`, where its head is known."""
        end = data.find(HEAD_END) + len(HEAD_END)
        found = self._requests.get((source_ip, data[:end]))
        if found is None or len(data) - end != found.length:
            return None
        return found.again(data[end:], now_s)

    def note(self, head: bytes, source_ip: str, request: Request) -> None:
        """`head` was parsed to `request`."""
        key = (source_ip, head)
        mark = hash(key)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self._requests) >= MAX_HEADS or self._bytes + len(head) > MAX_BYTES:
            self._requests.clear()
            self._bytes = 0
        if key not in self._requests:
            self._bytes += len(head)
        kept = request.again(b"", request.arrived_s)
        kept.origin = None  # nor its body
        self._requests[key] = kept
