"""Rollouts: moving an alias of a function to another revision, and steering that."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.responses import Response

from isotherm.api.answers import Cursor, IfMatch, Limit, Name, Namespace, content_etag, json_answer, page_answer
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import Call, ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import Rollout, RolloutList, RolloutRequest
from isotherm.workloads.rollout_model import RolloutPlan, RolloutRow
from isotherm.workloads.rollout_policy import stages

__all__ = ["routes"]

routes = RouteTable("rollouts")
_all = "/api/v1/namespaces/{ns}/functions/{name}/rollouts"
_one = _all + "/{rollout_id}"
_body = JsonBody(RolloutRequest)
RolloutId = Annotated[str, Path(pattern=r"^roll_[0-9a-z]{1,40}$", description="Id of a rollout")]


@routes.add(
    "GET",
    _all,
    permission="functions.read",
    summary="Rollouts",
    answers={200: Answer(RolloutList, "The newest first")},
)
def list_rollouts(call: ToCall, ns: Namespace, name: Name, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Of a function, the newest first; of one alias at most one is open."""
    page = call.services.rollouts.page(call.principal, ns, name, limit=limit, cursor=cursor)
    return page_answer(page, lambda row: _view(call, row))


@routes.add(
    "POST",
    _all,
    permission="functions.deploy",
    summary="Begin a rollout",
    body=_body,
    if_match=True,
    answers={201: Answer(Rollout, "It is open; nothing has moved yet", etag=True, location=True)},
)
def start_rollout(
    call: ToCall,
    ns: Namespace,
    name: Name,
    body: Annotated[RolloutRequest, Depends(_body)],
    if_match: IfMatch = None,
) -> Response:
    """Move an alias to a ready revision: warm it, give it calls step by step, watch, go back by itself where it is
    worse. `If-Match` takes the function's ETag."""
    plan = RolloutPlan(**{field: getattr(body, field) for field in RolloutPlan.__struct_fields__})
    row = call.services.rollouts.start(call.principal, ns, name, body.to, plan, alias=body.alias, if_match=if_match)
    location = f"/api/v1/namespaces/{ns}/functions/{name}/rollouts/{row.id}"
    return _answer(call, row, status=201, location=location)


@routes.add(
    "GET",
    _one,
    permission="functions.read",
    summary="One rollout",
    answers={200: Answer(Rollout, "Where it is, and what the gate sees", etag=True)},
)
def get_rollout(call: ToCall, ns: Namespace, name: Name, rollout_id: RolloutId) -> Response:
    """How far it has got, and the evidence for and against the new revision."""
    return _answer(call, call.services.rollouts.get(call.principal, ns, name, rollout_id))


@routes.add(
    "POST",
    _one + "/pause",
    permission="functions.deploy",
    summary="Pause a rollout",
    answers={200: Answer(Rollout, "It stays at this step", etag=True)},
)
def pause_rollout(call: ToCall, ns: Namespace, name: Name, rollout_id: RolloutId) -> Response:
    """It stays at this step. The gate goes on watching, and rolls back where it must."""
    return _answer(call, call.services.rollouts.pause(call.principal, ns, name, rollout_id))


@routes.add(
    "POST",
    _one + "/resume",
    permission="functions.deploy",
    summary="Resume a rollout",
    answers={200: Answer(Rollout, "It goes on", etag=True)},
)
def resume_rollout(call: ToCall, ns: Namespace, name: Name, rollout_id: RolloutId) -> Response:
    """It goes on where it was paused."""
    return _answer(call, call.services.rollouts.resume(call.principal, ns, name, rollout_id))


@routes.add(
    "POST",
    _one + "/abort",
    permission="functions.deploy",
    summary="Abort a rollout",
    answers={200: Answer(Rollout, "The alias is where it was before", etag=True)},
)
def abort_rollout(call: ToCall, ns: Namespace, name: Name, rollout_id: RolloutId) -> Response:
    """All calls go back to the revision that had them."""
    row = call.services.rollouts.abort(call.principal, ns, name, rollout_id)
    call.services.settle()
    return _answer(call, row)


def _answer(call: Call, row: RolloutRow, *, status: int = 200, location: str | None = None) -> Response:
    return json_answer(_view(call, row), status=status, etag=content_etag(row), location=location)


def _view(call: Call, row: RolloutRow) -> Rollout:
    values = {name: getattr(row, name) for name in Rollout.__struct_fields__ if name in RolloutRow.__struct_fields__}
    all_stages = stages(row.plan)
    weight = all_stages[row.step - 1].weight if row.step and row.state != "rolled_back" else 0.0
    if row.state == "open":
        values["reading"] = call.services.readings.get(row.id) or row.reading
    return Rollout(**values, steps=len(all_stages), percent=weight * 100.0)
