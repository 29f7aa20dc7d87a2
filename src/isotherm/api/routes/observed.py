"""What happened: progress of deploys, log lines, invocations and their explanations."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isotherm.api.answers import (
    Cursor,
    Limit,
    Name,
    Namespace,
    Number,
    content_etag,
    json_answer,
    ndjson_answer,
    page_answer,
)
from isotherm.api.calls import Call, ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import InvocationList, LogList, MinuteList
from isotherm.api.staying import Stay
from isotherm.base.errors import NotFound
from isotherm.base.ids import FUNCTION_PATTERN
from isotherm.bus.fanout import Lost, Subscription
from isotherm.bus.progress import Finished, ProgressStep
from isotherm.functions.model import Revision
from isotherm.records.model import Explanation
from isotherm.records.service import no_invocation
from isotherm.wire.telemetry import InvocationRecord, LogLine, Outcome

__all__ = ["read_on", "routes"]

routes = RouteTable("observed")
_function = "/api/v1/namespaces/{ns}/functions/{name}"
_invocations = "/api/v1/namespaces/{ns}/invocations"
_look_up_s = 1.0  # a stream looks this often whether it should end
_recheck = 5  # look-ups between two looks into the database
LAST_MINUTE = 2**31 - 1  # what a database holds as a minute
AtMinute = Annotated[int, Query(ge=0, le=LAST_MINUTE, description="Minutes since 1970")]
InvocationId = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[0-9A-Za-z_-]+$")]


@routes.add(
    "GET",
    _function + "/revisions/{number}/progress",
    permission="functions.read",
    summary="Progress of a deploy",
    answers={200: Answer(None, "Steps so far, those to come, and the end", lines=(ProgressStep, Finished))},
)
async def follow_progress(call: ToCall, ns: Namespace, name: Name, number: Number) -> Response:
    """A stream of JSON lines; the last one has `"done": true`, the state, and the problem where it failed."""
    functions = call.services.functions
    revision = await run_in_threadpool(functions.revision, call.principal, ns, name, number)
    history, rest = call.services.progress.follow(revision.id)
    return ndjson_answer(_progress_lines(call, ns, name, number, revision.id, history, rest), rest)


async def _progress_lines(
    call: Call,
    ns: str,
    name: str,
    number: int,
    revision_id: str,
    history: list[ProgressStep | Finished],
    rest: Subscription[ProgressStep | Finished],
) -> AsyncIterator[list[Any]]:
    functions, looks, stay = call.services.functions, 0, Stay(call)
    if history:
        yield history
    if any(isinstance(line, Finished) for line in history):
        return
    while not call.services.stopping.is_set() and not await stay.is_over():
        if looks % _recheck == 0:  # at first, and now and then: another process may have settled it
            try:
                now = await run_in_threadpool(functions.revision, call.principal, ns, name, number)
            except NotFound as gone:
                yield [Finished(state="failed", problem=gone.problem())]
                return
            if now.id == revision_id and now.state != "building":
                await run_in_threadpool(call.services.settle)  # who is told that it is ready calls it
                yield [line for line in rest.take_all() if isinstance(line, ProgressStep)]
                yield [_finished(now)]
                return
        looks += 1
        line = await rest.get(_look_up_s)
        if line is None or isinstance(line, Lost):
            continue
        yield [line]
        if isinstance(line, Finished):
            return


def _finished(revision: Revision) -> Finished:
    """`url` is the revision's own: another one may be live by now."""
    ready = revision.state == "ready"
    return Finished(state="ready" if ready else "failed", url=revision.url if ready else None, problem=revision.problem)


@routes.add(
    "GET",
    _function + "/logs",
    permission="logs.read",
    summary="Log lines",
    answers={
        200: Answer(
            LogList,
            "Oldest first; with `follow` a stream of JSON lines that does not end",
            lines=(LogLine,),
        )
    },
)
async def read_logs(
    call: ToCall,
    ns: Namespace,
    name: Name,
    limit: Limit = 100,
    cursor: Cursor = None,
    since_ms: Annotated[int | None, Query(ge=0, le=2**53, description="From this time on")] = None,
    invocation: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Of one invocation alone")
    ] = None,
    follow: Annotated[bool, Query(description="Go on with what comes")] = False,
) -> Response:
    """Without `since_ms` and `cursor` the last ones. `next_cursor` gives what came later."""
    services = call.services
    await run_in_threadpool(
        services.functions.etag, call.principal, ns, name, "logs.read"
    )  # NotFound where there is none
    rest = services.logs.subscribe((ns, name)) if follow else None
    try:
        page = await run_in_threadpool(
            services.records.logs, ns, name, invocation_id=invocation, since_ms=since_ms, limit=limit, cursor=cursor
        )
    except BaseException:
        if rest is not None:
            rest.close()
        raise
    if rest is None:
        return page_answer(page)
    return ndjson_answer(read_on(call, rest, page.items, invocation), rest)


async def read_on(
    call: Call, rest: Subscription[LogLine], history: list[LogLine], invocation: str | None
) -> AsyncIterator[list[LogLine]]:
    """`history`, then what comes, until the process drains or the caller may not any more; a line in both is shown
    once."""
    yield history
    shown = Counter(history)  # what was stored while we subscribed comes by both ways
    stay = Stay(call)
    async for batch in rest.batches(_look_up_s):
        if call.services.stopping.is_set() or await stay.is_over():
            return
        lines = [_lost_line(item) if isinstance(item, Lost) else item for item in batch]
        lines = [line for line in lines if _is_wanted(line, invocation, shown)]
        if lines:
            yield lines
        elif not batch:
            shown.clear()


def _is_wanted(line: LogLine, invocation: str | None, shown: Counter[LogLine]) -> bool:
    if shown.get(line):
        shown[line] -= 1
        return False
    return invocation is None or line.invocation_id == invocation or line.stream == "platform"


def _lost_line(lost: Lost) -> LogLine:
    return LogLine(
        namespace="",
        name="",
        revision_id="",
        instance_id="",
        at_ms=0,
        message=f"{lost.count} lines are not shown: they came faster than they were read",
        stream="platform",
    )


@routes.add(
    "GET",
    _invocations,
    permission="invocations.read",
    function_by_query=True,
    summary="Invocations",
    answers={200: Answer(InvocationList, "Calls kept in full, the newest first")},
)
def list_invocations(
    call: ToCall,
    ns: Namespace,
    limit: Limit = 100,
    cursor: Cursor = None,
    function: Annotated[str | None, Query(pattern=FUNCTION_PATTERN, max_length=64)] = None,
    outcome: Annotated[Outcome | None, Query()] = None,
) -> Response:
    """Cold, failed and slow calls, and a sample of the others."""
    return page_answer(
        call.services.records.invocations(ns, function=function, outcome=outcome, limit=limit, cursor=cursor)
    )


@routes.add(
    "GET",
    "/api/v1/namespaces/{ns}/minutes",
    permission="invocations.read",
    function_by_query=True,
    summary="Calls by minute",
    answers={200: Answer(MinuteList, "Counts of each revision and minute in [since, until), the oldest first")},
)
def list_minutes(
    call: ToCall,
    ns: Namespace,
    since_minute: AtMinute = 0,
    until_minute: AtMinute = LAST_MINUTE,
    limit: Limit = 100,
    cursor: Cursor = None,
    function: Annotated[str | None, Query(pattern=FUNCTION_PATTERN, max_length=64)] = None,
) -> Response:
    """All calls, counted whether they were kept in full or not."""
    found = call.services.records.namespace_minutes(
        ns, function=function, since_minute=since_minute, until_minute=until_minute, limit=limit, cursor=cursor
    )
    return page_answer(found)


@routes.add(
    "GET",
    _invocations + "/{invocation_id}",
    permission="invocations.read",
    any_function=True,
    summary="One invocation",
    answers={200: Answer(InvocationRecord, "The call", etag=True)},
)
def get_invocation(call: ToCall, ns: Namespace, invocation_id: InvocationId) -> Response:
    """A call that was kept in full."""
    found = _invocation(call, ns, invocation_id)
    return json_answer(found, etag=content_etag(found))


@routes.add(
    "GET",
    _invocations + "/{invocation_id}/event",
    permission="invocations.read_event",
    summary="What an invocation was made with",
    answers={200: Answer(Any, "The event as JSON, whatever it was")},
)
def get_invocation_event(call: ToCall, ns: Namespace, invocation_id: InvocationId) -> Response:
    """Kept where the function's configuration says so: `records.events`."""
    return json_answer(msgspec.Raw(call.services.records.event(ns, invocation_id)))


@routes.add(
    "GET",
    _invocations + "/{invocation_id}/explanation",
    permission="invocations.read",
    any_function=True,
    summary="Why a call took what it took",
    answers={200: Answer(Explanation, "Phases, the cause of a cold start, what it cost, what would avoid it")},
)
def explain_invocation(call: ToCall, ns: Namespace, invocation_id: InvocationId) -> Response:
    """Why it was cold, where its time went, what would have avoided it."""
    _invocation(call, ns, invocation_id)
    return json_answer(call.services.records.explain(ns, invocation_id))


def _invocation(call: Call, ns: str, invocation_id: str) -> InvocationRecord:
    """Raises `NotFound`, also where it is of a function that the caller's scopes are not about."""
    found = call.services.records.invocation(ns, invocation_id)
    call.check_scope("invocations.read", found.name, no_invocation(invocation_id))
    return found
