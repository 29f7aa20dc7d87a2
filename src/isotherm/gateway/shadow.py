"""Shadow traffic: a share of the calls is copied to another revision, and nobody waits for what the copies come to.

A target without a shadow knows nothing of this: its `pick` is the plain one. Copies are bounded: beyond `MAX_COPIES`
under way the next ones are not made, so a slow revision holds no more bodies than that.
"""

import asyncio
from collections.abc import Callable

from isotherm.base.errors import IsothermError
from isotherm.gateway.target import GOLDEN, Route, Target
from isotherm.pool.call import SHADOW, Answer, Call, StreamSink
from isotherm.pool.revision import RevisionPool

__all__ = ["MAX_COPIES", "ShadowedTarget"]

MAX_COPIES = 32
OPENING = len(b'["')  # of a frame's head, before the call's id


class ShadowedTarget(Target):
    """A target whose calls are copied, too."""

    __slots__ = ("_copies", "_new_id", "_shadow", "_shadow_point", "_share")

    def __init__(
        self,
        route: Route,
        label: str,
        weighted: list[tuple[RevisionPool, float]],
        *,
        whole: bool,
        shadow: RevisionPool,
        share: float,
        new_id: Callable[[], str],
    ) -> None:
        super().__init__(route, label, weighted, whole=whole)
        self.streams_bodies = False  # a body that comes in pieces cannot be sent twice
        self._shadow = shadow
        self._share = share
        self._shadow_point = 0.0
        self._new_id = new_id
        self._copies = 0

    def pick(self, call: Call | None = None) -> RevisionPool:
        """The revision for the next call, which may be copied once it is on its way."""
        revision = super().pick(call)
        if call is not None and revision is not self._shadow and self._copies < MAX_COPIES:
            self._shadow_point = point = (self._shadow_point + GOLDEN) % 1.0
            if point < self._share:
                self._copies += 1
                asyncio.get_running_loop().call_soon(self._shadow.submit, self._copy(call), call.arrived_s)
        return revision

    def stale(self) -> bool:
        return self._shadow.closing or super().stale()

    # -- the sink of the copies ----------------------------------------------------------------------------------------

    def answered(self, _call: Call, _flags: int, _head: bytes, _body: bytes, _now_s: float) -> int:
        self._copies -= 1
        return 200

    def failed(self, _call: Call, error: IsothermError, _now_s: float) -> int:
        self._copies -= 1
        return error.status

    def begun(self, _call: Call, answer: Answer, _flags: int, _head: bytes, _now_s: float) -> StreamSink:
        return DrainedCopy(self, answer)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _copy(self, call: Call) -> Call:
        """The same call under an id of its own; its bytes are shared."""
        call_id = self._new_id()
        head = call.head[:OPENING] + call_id.encode() + call.head[OPENING + len(call.id) :]
        copy = Call(call_id, call.flags, head, call.body, self, call.arrived_s)
        copy.alias = self.label
        copy.principal_id = call.principal_id
        copy.source = SHADOW
        return copy


class DrainedCopy:
    """Lets a copy's streamed answer run to its end, so that the gate sees how it ended. See `pool.call.StreamSink`."""

    def __init__(self, target: ShadowedTarget, answer: Answer) -> None:
        self._target = target
        self._answer = answer

    def piece(self, body: bytes) -> None:
        self._answer.taken(len(body))

    def ended(self, call: Call, now_s: float) -> int:
        return self._target.answered(call, 0, b"", b"", now_s)

    def answered(self, call: Call, flags: int, head: bytes, body: bytes, now_s: float) -> int:
        return self._target.answered(call, flags, head, body, now_s)

    def failed(self, call: Call, error: IsothermError, now_s: float) -> int:
        return self._target.failed(call, error, now_s)

    def begun(self, call: Call, answer: Answer, flags: int, head: bytes, now_s: float) -> StreamSink:
        return self
