"""Quotas of namespaces, with what is used of them."""

from typing import Annotated

import msgspec
from fastapi import Depends
from starlette.responses import Response

from isotherm.api.answers import Cursor, IfMatch, Limit, Namespace, json_answer, page_answer
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import ToCall
from isotherm.api.port import ApiServices
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import QuotaList, QuotaRequest, QuotaUse, QuotaView
from isotherm.tenancy.model import NamespaceQuota
from isotherm.wire.quota import Quota

__all__ = ["routes"]

routes = RouteTable("quotas")
_one = "/api/v1/namespaces/{ns}/quota"
_body = JsonBody(QuotaRequest)
_megabyte = 1024 * 1024


@routes.add(
    "GET",
    "/api/v1/quotas",
    permission="platform.read",
    summary="Quotas",
    answers={200: Answer(QuotaList, "Those of the namespaces that you may look at")},
)
def list_quotas(call: ToCall, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Of each namespace, by name: what it may use and what it uses. A page may hold fewer than `limit`."""
    page = call.services.quotas.page(call.principal, limit=limit, cursor=cursor)
    return page_answer(page, lambda quota: _view(call.services, quota))


@routes.add(
    "GET",
    _one,
    permission="quotas.read",
    summary="The quota of a namespace",
    answers={200: Answer(QuotaView, "What it may use and what it uses", etag=True)},
)
def get_quota(call: ToCall, ns: Namespace) -> Response:
    """`own` is what was said of it, `limits` what holds, `use` what is used now; null: no limit."""
    found = call.services.quotas.get(call.principal, ns)
    return json_answer(_view(call.services, found), etag=found.etag)


@routes.add(
    "PUT",
    _one,
    permission="quotas.set",
    on_platform=True,
    summary="Set the quota of a namespace",
    body=_body,
    if_match=True,
    answers={200: Answer(QuotaView, "The quota", etag=True)},
)
def put_quota(
    call: ToCall,
    ns: Namespace,
    body: Annotated[QuotaRequest, Depends(_body)],
    if_match: IfMatch = None,
) -> Response:
    """In place of what was said before: what is null or left out follows the platform's default."""
    quota = Quota(**msgspec.structs.asdict(body))
    made = call.services.quotas.set(call.principal, ns, quota, if_match=if_match)
    call.services.settle()
    return json_answer(_view(call.services, made), etag=made.etag)


def _view(services: ApiServices, quota: NamespaceQuota) -> QuotaView:
    return QuotaView(namespace=quota.namespace, own=quota.own, limits=quota.limits, use=_use(services, quota.namespace))


def _use(services: ApiServices, namespace: str) -> QuotaUse:
    held = services.board.use(namespace)
    disk_bytes = max(held.disk_bytes, services.functions.package_bytes(namespace))
    return QuotaUse(
        memory_mb=held.memory_mb,
        instances=held.instances,
        rate_per_s=services.board.rate_per_s(namespace, services.clock.time_ms()),
        disk_mb=round(disk_bytes / _megabyte, 3),
        log_mb=round(services.records.log_bytes(namespace) / _megabyte, 3),
        refused=held.refused,
    )
