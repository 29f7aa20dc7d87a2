"""Secrets of a namespace. No route answers a value."""

from typing import Annotated

from fastapi import Depends, Path, Query
from starlette.responses import Response

from isotherm.api.answers import Cursor, IfMatch, Limit, Namespace, json_answer, no_content, page_answer
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import SecretList, SecretRequest
from isotherm.base.ids import NAME_PATTERN
from isotherm.tenancy.model import Secret

__all__ = ["routes"]

routes = RouteTable("secrets")
_all = "/api/v1/namespaces/{ns}/secrets"
_one = _all + "/{secret}"
_value_body = JsonBody(SecretRequest)
SecretName = Annotated[str, Path(alias="secret", pattern=NAME_PATTERN, max_length=63, description="Name of a secret")]


@routes.add(
    "GET",
    _all,
    permission="secrets.read",
    summary="Secrets",
    answers={200: Answer(SecretList, "The secrets of a namespace, by name, without their values")},
)
def list_secrets(call: ToCall, ns: Namespace, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """By name, with the functions that take each."""
    return page_answer(call.services.secrets.page(call.principal, ns, limit=limit, cursor=cursor))


@routes.add(
    "GET",
    _one,
    permission="secrets.read",
    summary="One secret",
    answers={200: Answer(Secret, "The secret, without its value", etag=True)},
)
def get_secret(call: ToCall, ns: Namespace, secret: SecretName) -> Response:
    """Its version and the functions that take it. Nobody can read a value back."""
    found = call.services.secrets.get(call.principal, ns, secret)
    return json_answer(found, etag=found.etag)


@routes.add(
    "PUT",
    _one,
    permission="secrets.set",
    summary="Set a secret",
    body=_value_body,
    if_match=True,
    answers={
        201: Answer(Secret, "A new secret", etag=True, location=True),
        200: Answer(Secret, "The secret with its other value, or unchanged", etag=True, location=True),
    },
)
def set_secret(
    call: ToCall,
    ns: Namespace,
    secret: SecretName,
    body: Annotated[SecretRequest, Depends(_value_body)],
    if_match: IfMatch = None,
) -> Response:
    """Functions that take it get new instances within seconds. The value that it has already changes nothing."""
    made, created = call.services.secrets.set(call.principal, ns, secret, body.value, if_match=if_match)
    call.services.settle()
    location = f"/api/v1/namespaces/{ns}/secrets/{secret}"
    return json_answer(made, status=201 if created else 200, etag=made.etag, location=location)


@routes.add(
    "DELETE",
    _one,
    permission="secrets.delete",
    summary="Remove a secret",
    if_match=True,
    answers={204: Answer(None, "It is gone")},
)
def remove_secret(
    call: ToCall,
    ns: Namespace,
    secret: SecretName,
    force: Annotated[bool, Query(description="Also where functions take it: they go on without the variable")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Refused where a function takes it, live, by another alias or building; `force` removes it nevertheless."""
    call.services.secrets.remove(call.principal, ns, secret, force=force, if_match=if_match)
    call.services.settle()
    return no_content()
