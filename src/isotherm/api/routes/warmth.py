"""What waits warm, and why: decisions of the policy, and what it thinks now."""

import msgspec
from starlette.responses import Response

from isotherm.api.answers import Cursor, Limit, Name, Namespace, json_answer, page_answer
from isotherm.api.calls import Call, ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import ReceiptList
from isotherm.functions.model import Function
from isotherm.warming.view import PolicyName, WarmthSummary, WarmthView

__all__ = ["routes"]

routes = RouteTable("warmth")
_function = "/api/v1/namespaces/{ns}/functions/{name}"
_off = "the setting warming is keep_alive: all go by their keep-alives"


@routes.add(
    "GET",
    _function + "/decisions",
    permission="invocations.read",
    summary="Decisions on warmth",
    answers={200: Answer(ReceiptList, "A receipt of each decision, the newest first")},
)
def list_decisions(call: ToCall, ns: Namespace, name: Name, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """What was forecast, what was chosen and why, what the other rungs would have cost. Kept for `receipt_days`."""
    services = call.services
    services.functions.etag(call.principal, ns, name, "invocations.read")  # NotFound where there is none
    return page_answer(services.records.receipts(ns, name, limit=limit, cursor=cursor))


@routes.add(
    "GET",
    _function + "/warmth",
    permission="functions.read",
    summary="How warm a function is to be",
    answers={200: Answer(WarmthView, "What the policy thinks of it now; nulls where it does not decide")},
)
def get_warmth(call: ToCall, ns: Namespace, name: Name) -> Response:
    """Its budget and the price of idle memory, what is expected of the coming minute, where it waits, until when."""
    function = call.services.functions.get(call.principal, ns, name)
    view = call.services.warmth.get(ns, name) or _undecided(call, function)
    if view.last_receipt is None:
        newest = call.services.records.receipts(ns, name, limit=1).items
        last = next(iter(newest), None)
        again_ms = view.again_ms if last is None else min(filter(None, (view.again_ms, last.again_ms)), default=None)
        view = msgspec.structs.replace(view, last_receipt=last, again_ms=again_ms)
    return json_answer(view)


@routes.add(
    "GET",
    "/api/v1/warmth",
    permission="hosts.read",
    summary="Warmth of the platform",
    answers={200: Answer(WarmthSummary, "What waits where, what it costs, what it avoided; nulls while nobody plans")},
)
def get_platform_warmth(call: ToCall) -> Response:
    """All workloads together."""
    return json_answer(call.services.warmth.summary or _no_plan(call))


def _undecided(call: Call, function: Function) -> WarmthView:
    """The view of a function that the policy has said nothing of."""
    warm = None if function.latest is None else function.latest.config.warm
    policy: PolicyName
    if call.services.settings.warming == "keep_alive":
        policy, why = "keep_alive", _off
    elif (summary := call.services.warmth.summary) is not None and summary.policy == "keep_alive":
        policy, why = "keep_alive", summary.why  # it has given up
    elif warm is not None and warm.policy == "keep_alive":
        policy, why = "keep_alive", 'its warm.policy is "keep_alive"'
    else:
        policy, why = "foresight", "the policy has not planned for it yet; until then it goes by its keep-alives"
    return WarmthView(
        namespace=function.namespace,
        name=function.name,
        policy=policy,
        why=why,
        budget=None if warm is None or warm.budget is None else f"workload: {warm.budget}",
    )


def _no_plan(call: Call) -> WarmthSummary:
    if call.services.settings.warming == "keep_alive":
        return WarmthSummary(policy="keep_alive", why=_off)
    why = "the policy has not planned yet; until then all go by their keep-alives"
    budget = call.services.settings.warming_budget.strip()
    return WarmthSummary(
        policy="foresight",
        why=why,
        minute_s=call.services.settings.warming_minute_s,
        budget=f"platform: {budget}" if budget else None,
    )
