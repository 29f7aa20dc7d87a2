"""Packages, functions, their revisions and aliases."""

from typing import Annotated, BinaryIO

import msgspec
from fastapi import Depends, Path, Query
from starlette.responses import Response

from isotherm.api.answers import (
    Cursor,
    IfMatch,
    Limit,
    Name,
    Namespace,
    Number,
    content_etag,
    json_answer,
    no_content,
    page_answer,
)
from isotherm.api.bodies import ZIP_TYPES, JsonBody, received_zip
from isotherm.api.calls import ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import (
    AliasList,
    AliasWeights,
    FunctionList,
    FunctionView,
    PruneRequest,
    RevisionList,
    RollbackRequest,
)
from isotherm.base.errors import InvalidPackage
from isotherm.base.ids import ALIAS_PATTERN
from isotherm.functions.model import Alias, FunctionConfig, Package, Pruned, Revision, Trigger
from isotherm.workloads.model import Weight

__all__ = ["routes"]

routes = RouteTable("functions")
_all = "/api/v1/namespaces/{ns}/functions"
_one = _all + "/{name}"
_alias = _one + "/aliases/{alias}"
_config_body = JsonBody(FunctionConfig)
_weights_body = JsonBody(AliasWeights)
_rollback_body = JsonBody(RollbackRequest)
_prune_body = JsonBody(PruneRequest)
AliasName = Annotated[str, Path(alias="alias", pattern=ALIAS_PATTERN, max_length=128, description="Name of an alias")]


@routes.add(
    "POST",
    "/api/v1/namespaces/{ns}/packages",
    permission="functions.deploy",
    any_function=True,  # the zip is of no function yet; a deploy of one is checked by its name
    summary="Upload a package",
    body_types=ZIP_TYPES,
    answers={201: Answer(Package, "What the zip holds, and the digest that names it")},
    errors=(InvalidPackage,),
)
def upload_package(call: ToCall, ns: Namespace, content: Annotated[BinaryIO, Depends(received_zip)]) -> Response:
    """A zip of code, with `requirements.txt` where there are dependencies. The same zip again is the same package."""
    return json_answer(call.services.functions.upload_package(call.principal, ns, content), status=201)


@routes.add(
    "GET",
    _all,
    permission="functions.read",
    summary="Functions",
    answers={200: Answer(FunctionList, "The functions of a namespace, by name")},
)
def list_functions(call: ToCall, ns: Namespace, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """By name; values of environment variables are masked."""
    return page_answer(call.services.functions.page(call.principal, ns, limit=limit, cursor=cursor))


@routes.add(
    "PUT",
    _one,
    permission="functions.deploy",
    summary="Deploy",
    body=_config_body,
    if_match=True,
    answers={
        202: Answer(Revision, "A new revision, building; see its progress", etag=True, location=True),
        200: Answer(Revision, "Nothing changed: the revision that is there", etag=True, location=True),
    },
)
def deploy_function(
    call: ToCall,
    ns: Namespace,
    name: Name,
    config: Annotated[FunctionConfig, Depends(_config_body)],
    abort_rollout: Annotated[bool, Query(description="End the rollout that is moving `live`, if there is one")] = False,
    if_match: IfMatch = None,
) -> Response:
    """Make a revision of the function, which is made where it is new. Once it is ready it takes the traffic, at once or
    as `rollout` says."""
    deployed = call.services.functions.deploy(
        call.principal, ns, name, config, abort_rollout=abort_rollout, if_match=if_match
    )
    return json_answer(
        deployed.revision,
        status=202 if deployed.created else 200,
        etag=deployed.etag,
        location=f"/api/v1/namespaces/{ns}/functions/{name}/revisions/{deployed.revision.number}",
    )


@routes.add(
    "GET",
    _one,
    permission="functions.read",
    summary="One function",
    answers={200: Answer(FunctionView, "The function and what hosts hold of it", etag=True)},
)
def get_function(call: ToCall, ns: Namespace, name: Name) -> Response:
    """Its URL, where traffic goes, its newest revision, what hosts hold of it now."""
    found = call.services.functions.get(call.principal, ns, name)
    view = FunctionView(**msgspec.structs.asdict(found), states=call.services.board.states(ns, name))
    return json_answer(view, etag=found.etag)


@routes.add(
    "DELETE",
    _one,
    permission="functions.delete",
    summary="Delete a function",
    if_match=True,
    answers={204: Answer(None, "It is gone with all its revisions")},
)
def delete_function(call: ToCall, ns: Namespace, name: Name, if_match: IfMatch = None) -> Response:
    """With all its revisions; its name is free at once."""
    call.services.functions.delete(call.principal, ns, name, if_match=if_match)
    call.services.settle()
    return no_content()


@routes.add(
    "GET",
    _one + "/revisions",
    permission="functions.read",
    summary="Revisions",
    answers={200: Answer(RevisionList, "The newest first")},
)
def list_revisions(call: ToCall, ns: Namespace, name: Name, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The newest first; values of environment variables are masked."""
    return page_answer(call.services.functions.revisions(call.principal, ns, name, limit=limit, cursor=cursor))


@routes.add(
    "GET",
    _one + "/revisions/{number}",
    permission="functions.read",
    summary="One revision",
    answers={200: Answer(Revision, "The revision", etag=True)},
)
def get_revision(call: ToCall, ns: Namespace, name: Name, number: Number) -> Response:
    """Its state, configuration and, where it failed, why."""
    found = call.services.functions.revision(call.principal, ns, name, number)
    return json_answer(found, etag=content_etag(found))


@routes.add(
    "POST",
    _one + "/prune",
    permission="functions.deploy",
    summary="Forget old revisions",
    body=_prune_body,
    answers={200: Answer(Pruned, "Those that are forgotten, and how many stay")},
)
def prune_revisions(
    call: ToCall, ns: Namespace, name: Name, body: Annotated[PruneRequest, Depends(_prune_body)]
) -> Response:
    """By the platform's policy, or all but the newest `keep`. What an alias points to stays, as do the newest ready
    one, what is building, and what was called within the last day."""
    pruned = call.services.pruning.prune(call.principal, ns, name, keep=body.keep, dry_run=body.dry_run)
    if pruned.dropped and not body.dry_run:
        call.services.settle()
    return json_answer(pruned)


@routes.add(
    "GET",
    _one + "/aliases",
    permission="functions.read",
    summary="Aliases",
    answers={200: Answer(AliasList, "By name")},
)
def list_aliases(call: ToCall, ns: Namespace, name: Name, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The aliases of a function; `live` takes unqualified calls."""
    return page_answer(call.services.functions.aliases(call.principal, ns, name, limit=limit, cursor=cursor))


@routes.add(
    "GET",
    _alias,
    permission="functions.read",
    summary="One alias",
    answers={200: Answer(Alias, "The alias", etag=True)},
)
def get_alias(call: ToCall, ns: Namespace, name: Name, alias: AliasName) -> Response:
    """The revisions that it names. Its ETag is the function's."""
    functions = call.services.functions
    etag = functions.etag(call.principal, ns, name)
    return json_answer(functions.alias(call.principal, ns, name, alias), etag=etag)


@routes.add(
    "PUT",
    _alias,
    permission="functions.deploy",
    summary="Make or move an alias",
    body=_weights_body,
    if_match=True,
    answers={200: Answer(Alias, "The alias", etag=True)},
)
def put_alias(
    call: ToCall,
    ns: Namespace,
    name: Name,
    alias: AliasName,
    body: Annotated[AliasWeights, Depends(_weights_body)],
    if_match: IfMatch = None,
) -> Response:
    """To ready revisions, with weights that sum to 1."""
    functions = call.services.functions
    weights = [Weight(share.number, share.weight) for share in body.weights]
    made = functions.set_alias(call.principal, ns, name, alias, weights, if_match=if_match)
    call.services.settle()
    return json_answer(made, etag=functions.etag(call.principal, ns, name))


@routes.add(
    "DELETE",
    _alias,
    permission="functions.deploy",
    summary="Delete an alias",
    if_match=True,
    answers={204: Answer(None, "It is gone")},
)
def delete_alias(call: ToCall, ns: Namespace, name: Name, alias: AliasName, if_match: IfMatch = None) -> Response:
    """Any but `live`."""
    call.services.functions.delete_alias(call.principal, ns, name, alias, if_match=if_match)
    call.services.settle()
    return no_content()


@routes.add(
    "GET",
    _one + "/triggers",
    permission="functions.read",
    summary="Triggers",
    answers={200: Answer(list[Trigger], "Its URL and its schedules, with the times that are next")},
)
def list_triggers(call: ToCall, ns: Namespace, name: Name) -> Response:
    """What calls the function by itself, of the revision that leads `live`."""
    return json_answer(call.services.functions.triggers(call.principal, ns, name))


@routes.add(
    "POST",
    _one + "/rollback",
    permission="functions.deploy",
    summary="Roll back",
    body=_rollback_body,
    if_match=True,
    answers={200: Answer(Alias, "The alias `live`", etag=True)},
)
def rollback_function(
    call: ToCall,
    ns: Namespace,
    name: Name,
    body: Annotated[RollbackRequest, Depends(_rollback_body)],
    if_match: IfMatch = None,
) -> Response:
    """Point `live` at an earlier ready revision, by default the one before. A rollout that is moving it ends."""
    functions = call.services.functions
    alias = functions.rollback(call.principal, ns, name, to=body.to, if_match=if_match)
    call.services.settle()
    return json_answer(alias, etag=functions.etag(call.principal, ns, name))
