"""Functions: deployed, called, looked at."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from isotherm.base.errors import IsothermError
from isotherm.client import logs
from isotherm.client.calls import AsyncCall, Call
from isotherm.client.deploying import BUILD_S, deploy
from isotherm.client.invoking import CALL_S, answer_of, failure_of, invoke_request, stream_end, stream_request
from isotherm.client.model import Alias, Answer, Deployed, Function, LogLine, Progress, Trigger
from isotherm.client.request import Request, function_path
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, handing, streaming
from isotherm.wire.eventstream import EventDecoder

__all__ = ["AsyncFunctions", "Functions"]


class AsyncFunctions(AsyncNoun):
    """Functions of the namespace. Where a function is called, `name` may be NAME, NAME:QUALIFIER or NAMESPACE/NAME."""

    def list(self, limit: int | None = None) -> AsyncStream[Function]:
        """By name."""
        return AsyncStream(self._session.pages(self._session.path("functions"), Function, limit))

    async def get(self, name: str) -> Function:
        """Its URL, where its calls go, its newest revision, what hosts hold of it now. Raises `NotFound`."""
        return await self._session.get(self._session.path(function_path(name)), Function)

    async def delete(self, name: str, *, etag: str | None = None) -> None:
        """With all its revisions. With `etag` only where it is still that one; otherwise `PreconditionFailed`."""
        await self._session.delete(self._session.path(function_path(name)), etag=etag)

    async def deploy(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        public: bool | None = None,
        rollout: Mapping[str, Any] | None = None,
        abort_rollout: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        timeout_s: float = BUILD_S,
    ) -> Deployed:
        """Deploy a folder with isotherm.toml and the code, and wait until the revision serves.

        `name`, `env`, `public` and `rollout` win over the manifest. `abort_rollout` ends the rollout that is moving
        `live`. `on_progress` hears of each step. `timeout_s` bounds the time between two steps.

        Raises `InvalidManifest`, `InvalidPackage`, `TooLarge`, and why the revision failed: `BuildFailed`,
        `ImportFailed`, `NotIsolated`.
        """
        return await deploy(
            self._session, Path(folder), name, env, public, rollout,
            abort_rollout=abort_rollout, tell=on_progress or (lambda _: None), timeout_s=timeout_s,
        )  # fmt: skip

    async def rollback(self, name: str, to: int | None = None) -> Alias:
        """Send the calls back to an earlier revision, by default the ready one before; a rollout of it ends."""
        return await self._session.post(self._session.path(f"{function_path(name)}/rollback"), Alias, {"to": to})

    async def triggers(self, name: str) -> Sequence[Trigger]:
        """What calls it by itself: its URL and its schedules, with the times that are next."""
        return await self._session.get(self._session.path(f"{function_path(name)}/triggers"), tuple[Trigger, ...])

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        limit: int | None = None,
        since_ms: int | None = None,
        invocation: str | None = None,
    ) -> AsyncStream[LogLine]:
        """What it wrote, oldest first: the last `limit` lines (100), or those from `since_ms` on, all or so many.

        With `follow` then what it writes, without end; a stream that breaks is taken up again. `invocation`: of one
        call alone.
        """
        found = logs.follow if follow else logs.past
        return AsyncStream(found(self._session, name, limit, since_ms, invocation))

    async def invoke(
        self,
        name: str,
        event: Any = None,
        *,
        qualifier: str | None = None,
        tail: bool = False,
        client_context: Any = None,
        check: bool = True,
        dry_run: bool = False,
        timeout_s: float | None = None,
    ) -> Answer:
        """Call it and wait. `event` is any value that JSON has, or bytes that are JSON; None is `{}`.

        `tail` asks for the end of the call's log. `dry_run`: only check that the call would be let in. It is not
        repeated where it may have begun. The platform's own limit of time is the function's; `timeout_s` is how long
        this client waits, 960 unless it says otherwise.

        Raises what it failed with (`HandlerFailed`, `OutOfMemory`, `TimedOut`, …), where `check` is False not: then
        the answer's `error` is set; and what the platform refused it with, as `TooManyRequests`.
        """
        request = invoke_request(
            self._session.namespace, name, event, "DryRun" if dry_run else "RequestResponse",
            qualifier=qualifier, tail=tail, client_context=client_context,
            timeout_s=self._session.limit_s(timeout_s, CALL_S),
        )  # fmt: skip
        answer = answer_of(await self._session.send(request))
        if check and answer.error is not None:
            raise failure_of(answer.payload, answer.request_id)
        return answer

    async def invoke_async(
        self,
        name: str,
        event: Any = None,
        *,
        qualifier: str | None = None,
        client_context: Any = None,
        timeout_s: float | None = None,
    ) -> AsyncCall:
        """Hand a call over; it is on disk when this returns, and is made at least once."""
        request = invoke_request(
            self._session.namespace, name, event, "Event",
            qualifier=qualifier, tail=False, client_context=client_context,
            timeout_s=self._session.limit_s(timeout_s, 30.0),
        )  # fmt: skip
        reply = await self._session.send(request)
        return AsyncCall(self._session, reply.headers.get("x-amzn-requestid", ""))

    def stream(
        self,
        name: str,
        event: Any = None,
        *,
        qualifier: str | None = None,
        client_context: Any = None,
        on_log: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncStream[bytes]:
        """Call it; the pieces of its answer as they come.

        Nothing is asked before the first piece is. What is not read is not made: the function waits. Leaving early
        ends the call. `on_log` gets the end of the call's log, last. `timeout_s` bounds the wait for each piece.

        Raises as `invoke` does, also in the middle; `Unavailable` where the answer breaks off.
        """
        request = stream_request(
            self._session.namespace, name, event,
            qualifier=qualifier, tail=on_log is not None, client_context=client_context,
            timeout_s=self._session.limit_s(timeout_s, CALL_S),
        )  # fmt: skip
        return AsyncStream(self._chunks(request, on_log))

    async def _chunks(self, request: Request, on_log: Callable[[str], None] | None) -> AsyncGenerator[bytes, None]:
        decoder = EventDecoder()
        async with aclosing(self._session.body(request)) as parts:
            async for part in parts:
                for event in decoder.feed(part):
                    if event.kind == "PayloadChunk":
                        yield event.payload
                    elif event.kind == "InvokeComplete":
                        end = stream_end(event.payload)
                        if on_log is not None and end.log is not None:
                            on_log(end.log)
                        if end.failure is not None:
                            raise end.failure
                        return
        raise IsothermError("the answer broke off before the function had ended")


class Functions(Noun[AsyncFunctions]):
    """Functions of the namespace. Where a function is called, `name` may be NAME, NAME:QUALIFIER or NAMESPACE/NAME."""

    list = streaming(AsyncFunctions.list)
    get = blocking(AsyncFunctions.get)
    delete = blocking(AsyncFunctions.delete)
    deploy = blocking(AsyncFunctions.deploy)
    rollback = blocking(AsyncFunctions.rollback)
    triggers = blocking(AsyncFunctions.triggers)
    logs = streaming(AsyncFunctions.logs)
    invoke = blocking(AsyncFunctions.invoke)
    invoke_async = handing(AsyncFunctions.invoke_async, Call)
    stream = streaming(AsyncFunctions.stream)
