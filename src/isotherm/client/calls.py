"""Asynchronous calls and their queues."""

import time
from collections.abc import Sequence
from typing import Literal

from isotherm.base.errors import FunctionFailed, IsothermError, TimedOut, all_errors
from isotherm.client.model import CallDetail, QueueChanged, QueuedCall, QueueOverview
from isotherm.client.request import function_path, given, segment
from isotherm.client.session import Session
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = ["AsyncCall", "AsyncCalls", "AsyncQueues", "Call", "Calls", "Queues"]

OPEN = ("queued", "running")
WAIT_S = 3600.0
FIRST_LOOK_S = 0.05
LAST_LOOK_S = 1.0


class AsyncCall(AsyncNoun):
    """An asynchronous call that the platform has on disk. `id` is what finds it again, also in another process."""

    def __init__(self, session: Session, call_id: str) -> None:
        super().__init__(session)
        self.id = call_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    async def get(self) -> CallDetail:
        """What is known of it now. Raises `NotFound` where its result is kept no more."""
        return await self._session.get(self._session.path(f"calls/{segment(self.id)}"), CallDetail)

    async def wait(self, timeout_s: float = WAIT_S, *, check: bool = True) -> CallDetail:
        """Until it is over, however often it is tried.

        Raises `TimedOut`; where it failed for good (`check`) what it failed with: `HandlerFailed` and its like.
        """
        deadline_s, pause_s = time.monotonic() + timeout_s, FIRST_LOOK_S
        while True:
            found = await self.get()
            if found.call.state not in OPEN:
                break
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimedOut(f"the call {self.id} is {found.call.state} after {timeout_s:g} s; it goes on")
            await self._session.wire.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, LAST_LOOK_S)
        if check and found.call.state != "succeeded":
            raise _failure(found.call)
        return found


class Call(Noun[AsyncCall]):
    """An asynchronous call that the platform has on disk. `id` is what finds it again, also in another process."""

    @property
    def id(self) -> str:
        return self._noun.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    get = blocking(AsyncCall.get)
    wait = blocking(AsyncCall.wait)


class AsyncCalls(AsyncNoun):
    """Asynchronous calls, as long as they are kept."""

    def list(
        self, function: str | None = None, *, state: str | None = None, limit: int | None = None
    ) -> AsyncStream[QueuedCall]:
        """The newest first. `state`: queued, running, succeeded, dead or redriven."""
        path = self._session.path("calls")
        return AsyncStream(self._session.pages(path, QueuedCall, limit, **given(function=function, state=state)))

    async def get(self, call_id: str) -> CallDetail:
        """One call with its event and its result. Raises `NotFound`."""
        return await AsyncCall(self._session, call_id).get()

    async def wait(self, call_id: str, timeout_s: float = WAIT_S, *, check: bool = True) -> CallDetail:
        """Until it is over. Raises `TimedOut`, and with `check` what it failed with."""
        return await AsyncCall(self._session, call_id).wait(timeout_s, check=check)


class Calls(Noun[AsyncCalls]):
    """Asynchronous calls, as long as they are kept."""

    list = streaming(AsyncCalls.list)
    get = blocking(AsyncCalls.get)
    wait = blocking(AsyncCalls.wait)


class AsyncQueues(AsyncNoun):
    """The queues in which asynchronous calls wait, one per function."""

    async def show(self) -> QueueOverview:
        """The queues of the namespace, and how full their store is."""
        return await self._session.get(self._session.path("queues"), QueueOverview)

    async def pause(self, function: str) -> QueueChanged:
        """Hold its calls back. They are still accepted."""
        return await self._session.post(self._queue(function, "pause"), QueueChanged)

    async def resume(self, function: str) -> QueueChanged:
        """Deliver them again."""
        return await self._session.post(self._queue(function, "resume"), QueueChanged)

    async def purge(self, function: str, state: Literal["queued", "dead"] = "queued") -> QueueChanged:
        """Delete what waits, or the dead letters. There is no way back."""
        return await self._session.post(self._queue(function, "purge"), QueueChanged, state=state)

    async def redrive(self, function: str, ids: Sequence[str] | None = None) -> QueueChanged:
        """Make new calls of dead letters, of all or of those named."""
        body = given(ids=None if ids is None else list(ids))
        return await self._session.post(self._queue(function, "redrive"), QueueChanged, body)

    def _queue(self, function: str, action: str) -> str:
        return self._session.path(f"{function_path(function)}/queue/{action}")


class Queues(Noun[AsyncQueues]):
    """The queues in which asynchronous calls wait, one per function."""

    show = blocking(AsyncQueues.show)
    pause = blocking(AsyncQueues.pause)
    resume = blocking(AsyncQueues.resume)
    purge = blocking(AsyncQueues.purge)
    redrive = blocking(AsyncQueues.redrive)


def _failure(call: QueuedCall) -> IsothermError:
    """Why it is a dead letter, as an error."""
    kind = all_errors().get(call.error_code or "", FunctionFailed)
    why = f"{call.error_type}: {call.error_message}" if call.error_type else call.error_message or call.condition
    error = kind(
        f"the call {call.id} of {call.namespace}/{call.name} is a dead letter: {why}",
        error_type=call.error_type,
        error_message=call.error_message,
        condition=call.condition,
    )
    error.request_id = call.id
    return error
