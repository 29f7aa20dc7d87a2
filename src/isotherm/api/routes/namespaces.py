"""Namespaces and their keys."""

from typing import Annotated

from fastapi import Depends, Path
from msgspec.structs import replace
from starlette.responses import Response

from isotherm.api.answers import (
    Cursor,
    IfMatch,
    Limit,
    Namespace,
    content_etag,
    json_answer,
    no_content,
    page_answer,
)
from isotherm.api.bodies import JsonBody
from isotherm.api.calls import Call, ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import CreatedKey, KeyList, KeyRequest, NamespaceList, NamespaceRequest, RotateRequest
from isotherm.base.etags import check_etag
from isotherm.base.ids import NAME_PATTERN
from isotherm.tenancy.model import Key, NewKey
from isotherm.tenancy.model import Namespace as NamespaceModel

__all__ = ["routes"]

routes = RouteTable("namespaces")
_one = "/api/v1/namespaces/{ns}"
_key = "/api/v1/namespaces/{ns}/keys/{key_id}"
_namespace_body = JsonBody(NamespaceRequest)
_key_body = JsonBody(KeyRequest)
_rotate_body = JsonBody(RotateRequest)
Realm = Annotated[
    str,
    Path(
        alias="ns",
        pattern=rf"^(?:\*|{NAME_PATTERN.strip('^$')})$",
        max_length=63,
        description="Name of a namespace; `*` is all of them and the platform itself",
    ),
]
KeyId = Annotated[str, Path(pattern=r"^key_[0-9a-z]{1,40}$", description="Id of a key")]


@routes.add(
    "GET",
    "/api/v1/namespaces",
    permission="platform.read",
    summary="Namespaces",
    answers={200: Answer(NamespaceList, "Those in which you have a role")},
)
def list_namespaces(call: ToCall, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The namespaces in which the caller has a role, by name."""
    return page_answer(call.services.tenancy.namespaces(call.principal, limit=limit, cursor=cursor))


@routes.add(
    "POST",
    "/api/v1/namespaces",
    permission="namespaces.create",
    summary="Make a namespace",
    body=_namespace_body,
    answers={201: Answer(NamespaceModel, "The namespace", etag=True, location=True)},
)
def create_namespace(call: ToCall, body: Annotated[NamespaceRequest, Depends(_namespace_body)]) -> Response:
    """Names are DNS labels that begin with a letter."""
    made = call.services.tenancy.create_namespace(call.principal, body.name)
    return json_answer(made, status=201, etag=content_etag(made), location=f"/api/v1/namespaces/{made.name}")


@routes.add(
    "GET",
    _one,
    permission="namespaces.read",
    summary="One namespace",
    answers={200: Answer(NamespaceModel, "The namespace", etag=True)},
)
def get_namespace(call: ToCall, ns: Namespace) -> Response:
    """A namespace by its name."""
    found = call.services.tenancy.namespace(call.principal, ns)
    return json_answer(found, etag=content_etag(found))


@routes.add(
    "DELETE",
    _one,
    permission="namespaces.delete",
    on_platform=True,
    summary="Delete a namespace",
    if_match=True,
    answers={204: Answer(None, "It is gone, and its keys with it")},
)
def delete_namespace(call: ToCall, ns: Namespace, if_match: IfMatch = None) -> Response:
    """Only an empty one; its keys are revoked."""
    tenancy = call.services.tenancy
    if if_match is not None:
        check_etag(if_match, content_etag(tenancy.namespace(call.principal, ns)))
    tenancy.delete_namespace(call.principal, ns)
    call.services.settle()
    return no_content()


@routes.add(
    "GET",
    "/api/v1/namespaces/{ns}/keys",
    permission="keys.read",
    summary="Keys of a namespace",
    answers={200: Answer(KeyList, "The keys, without their secrets")},
)
def list_keys(call: ToCall, ns: Realm, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The keys, by id."""
    return page_answer(call.services.tenancy.keys(call.principal, ns, limit=limit, cursor=cursor))


@routes.add(
    "POST",
    "/api/v1/namespaces/{ns}/keys",
    permission="keys.create",
    summary="Make a key",
    body=_key_body,
    answers={201: Answer(CreatedKey, "The key with its secrets, shown this once", etag=True, location=True)},
)
def create_key(call: ToCall, ns: Realm, body: Annotated[KeyRequest, Depends(_key_body)]) -> Response:
    """A key for a new principal with one role in this namespace, or in `*`: everywhere."""
    made = call.services.tenancy.create_key(
        call.principal,
        ns,
        name=body.name,
        role=body.role,
        expires_at_ms=body.expires_at_ms,
        scopes=body.scopes,
        description=body.description,
    )
    return _new_key(call, ns, made)


@routes.add(
    "POST",
    _key + "/rotation",
    permission="keys.create",
    summary="Rotate a key",
    body=_rotate_body,
    answers={201: Answer(CreatedKey, "The new key with its secrets, shown this once", etag=True, location=True)},
)
def rotate_key(
    call: ToCall, ns: Namespace, key_id: KeyId, body: Annotated[RotateRequest, Depends(_rotate_body)]
) -> Response:
    """Another key for the same principal, role and scopes; both are good for `overlap_s`, then the former one ends."""
    made = call.services.tenancy.rotate_key(
        call.principal, ns, key_id, overlap_s=body.overlap_s, expires_at_ms=body.expires_at_ms
    )
    return _new_key(call, ns, made)


@routes.add("GET", _key, permission="keys.read", summary="One key", answers={200: Answer(Key, "The key", etag=True)})
def get_key(call: ToCall, ns: Realm, key_id: KeyId) -> Response:
    """A key without its secrets."""
    found = call.services.tenancy.key(call.principal, ns, key_id)
    return json_answer(found, etag=_etag(found))


@routes.add(
    "DELETE",
    _key,
    permission="keys.revoke",
    summary="Revoke a key",
    if_match=True,
    answers={204: Answer(None, "It opens nothing any more")},
)
def revoke_key(call: ToCall, ns: Realm, key_id: KeyId, if_match: IfMatch = None) -> Response:
    """At once, on every host that is connected."""
    tenancy = call.services.tenancy
    if if_match is not None:
        check_etag(if_match, _etag(tenancy.key(call.principal, ns, key_id)))
    tenancy.revoke_key(call.principal, ns, key_id)
    call.services.settle()
    return no_content()


def _new_key(call: Call, ns: str, made: NewKey) -> Response:
    call.services.settle()
    fields = {name: getattr(made.key, name) for name in Key.__struct_fields__}
    return json_answer(
        CreatedKey(**fields, token=made.token, secret_access_key=made.secret_access_key),
        status=201,
        etag=_etag(made.key),
        location=f"/api/v1/namespaces/{ns}/keys/{made.key.id}",
    )


def _etag(key: Key) -> str:
    """Not of when it was used."""
    return content_etag(replace(key, last_used_at_ms=None))
