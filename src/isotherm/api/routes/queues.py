"""Asynchronous calls: what became of one, what waits, and how a function's queue is steered."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from isotherm.api.answers import Cursor, Limit, Name, Namespace, json_answer, page_answer
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import Call, ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import QueuedCallList, RedriveRequest
from isotherm.base.errors import NotFound
from isotherm.base.ids import FUNCTION_PATTERN
from isotherm.db.pages import Page, decode_cursor, encode_cursor
from isotherm.wire.queue import CallDetail, CallPage, CallState, QueueChanged, QueueOrder, QueueOverview

__all__ = ["routes"]

routes = RouteTable("queues")
_namespace = "/api/v1/namespaces/{ns}"
_queue = _namespace + "/functions/{name}/queue"
_redrive_body = JsonBody(RedriveRequest)
CallId = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[0-9A-Za-z_-]+$")]
_changed = Answer(QueueChanged, "How many calls it concerned")


@routes.add(
    "GET",
    _namespace + "/queues",
    permission="invocations.read",
    summary="Queues",
    answers={200: Answer(QueueOverview, "The queues of the namespace's functions, and how full the store is")},
)
async def list_queues(call: ToCall, ns: Namespace) -> Response:
    """What waits, runs, succeeded and died of each function's asynchronous calls."""
    found = await call.services.queues.ask(QueueOrder(action="overview", namespace=ns))
    return json_answer(msgspec.convert(found, QueueOverview))


@routes.add(
    "GET",
    _namespace + "/calls",
    permission="invocations.read",
    function_by_query=True,
    summary="Asynchronous calls",
    answers={200: Answer(QueuedCallList, "The newest first; without events and results")},
)
async def list_calls(
    call: ToCall,
    ns: Namespace,
    limit: Limit = 100,
    cursor: Cursor = None,
    function: Annotated[str | None, Query(pattern=FUNCTION_PATTERN, max_length=64)] = None,
    state: Annotated[CallState | None, Query()] = None,
) -> Response:
    """Those that are kept: open ones, results for hours, dead letters for days, by the platform's settings."""
    below = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
    order = QueueOrder(action="calls", namespace=ns, name=function, state=state, below=below, limit=limit)
    page = msgspec.convert(await call.services.queues.ask(order), CallPage)
    following = None if page.next_below is None else encode_cursor(page.next_below)
    return page_answer(Page(page.calls, following))


@routes.add(
    "GET",
    _namespace + "/calls/{call_id}",
    permission="calls.read",
    any_function=True,
    summary="One asynchronous call",
    answers={200: Answer(CallDetail, "Its state, its event and, once it succeeded, its result")},
)
async def get_call(call: ToCall, ns: Namespace, call_id: CallId) -> Response:
    """By the request id that the 202 carried. Who may invoke may ask: only the id says which call it is."""
    found = await call.services.queues.ask(QueueOrder(action="call", namespace=ns, ids=[call_id]))
    absent = NotFound(f"there is no asynchronous call {call_id[:100]!r}: it never was, or is kept no more", id=call_id)
    if found is None:
        raise absent
    call.check_scope("calls.read", msgspec.convert(found, CallDetail).call.name, absent)
    return json_answer(found)


@routes.add("POST", _queue + "/pause", permission="calls.manage", summary="Pause a queue", answers={200: _changed})
async def pause_queue(call: ToCall, ns: Namespace, name: Name) -> Response:
    """Calls are still accepted and wait. What runs goes on."""
    return await _steer(call, ns, name, "pause")


@routes.add("POST", _queue + "/resume", permission="calls.manage", summary="Resume a queue", answers={200: _changed})
async def resume_queue(call: ToCall, ns: Namespace, name: Name) -> Response:
    """What waits is delivered again."""
    return await _steer(call, ns, name, "resume")


@routes.add("POST", _queue + "/purge", permission="calls.manage", summary="Purge a queue", answers={200: _changed})
async def purge_queue(
    call: ToCall,
    ns: Namespace,
    name: Name,
    state: Annotated[Literal["queued", "dead"], Query(description="What is deleted")] = "queued",
) -> Response:
    """Delete what waits, or the dead letters. There is no way back."""
    return await _steer(call, ns, name, "purge", state=state)


@routes.add(
    "POST",
    _queue + "/redrive",
    permission="calls.manage",
    summary="Redrive dead letters",
    body=_redrive_body,
    answers={200: Answer(QueueChanged, "How many new calls were made, and the ids of the first hundred")},
)
async def redrive_queue(
    call: ToCall, ns: Namespace, name: Name, body: Annotated[RedriveRequest, Depends(_redrive_body)]
) -> Response:
    """Make new calls of dead letters, of all or of those named. The old ones stay, marked, and never run again."""
    return await _steer(call, ns, name, "redrive", ids=body.ids)


async def _steer(
    call: Call, ns: str, name: str, action: Literal["pause", "resume", "purge", "redrive"], **more: Any
) -> Response:
    """Ask the host, then write down who did it. Raises `NotFound` where there is no such function."""
    functions = call.services.functions
    await run_in_threadpool(functions.require_steering, call.principal, ns, name)
    order = QueueOrder(action=action, namespace=ns, name=name, principal_id=call.principal.id, **more)
    changed = msgspec.convert(await call.services.queues.ask(order), QueueChanged)
    await run_in_threadpool(functions.queue_steered, call.principal, ns, name, action, changed.count)
    return json_answer(changed)
