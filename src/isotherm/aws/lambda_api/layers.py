"""Layers: zips that functions of a namespace share."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import revision_id
from isotherm.aws.lambda_api.functions import code_url, function_package
from isotherm.aws.lambda_api.missing import GONE
from isotherm.aws.lambda_api.names import LayerRef, parse_layer
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.base.errors import NotFound
from isotherm.functions.layer_model import LayerStatement, LayerVersion

__all__ = ["operations"]

operations = Operations("Layers")
_kept = "Kept and shown: functions of other namespaces cannot take a layer"


@operations.add("PublishLayerVersion", "functions.deploy", note="From `ZipFile`; unpacked to /opt, read-only")
def publish_layer_version(call: Call) -> dict[str, Any]:
    ref, given = _ref(call), call.given
    package = function_package(call, ref.namespace, given["Content"])
    made = call.services.layers.publish(
        call.principal,
        ref.namespace,
        ref.name,
        package,
        description=call.text("Description"),
        license=call.text("LicenseInfo"),
        runtimes=given.get("CompatibleRuntimes") or (),
        architectures=given.get("CompatibleArchitectures") or (),
    )
    return _whole(call, made)


@operations.add("GetLayerVersion", "functions.read")
def get_layer_version(call: Call) -> dict[str, Any]:
    return _whole(call, _found(call, _ref(call), _number(call)))


@operations.add("GetLayerVersionByArn", "functions.read")
def get_layer_version_by_arn(call: Call) -> dict[str, Any]:
    ref = parse_layer(call.text("Arn"), call.home)
    if ref.version is None:
        raise AwsError("InvalidParameterValueException", f"{call.text('Arn')} names no version of a layer")
    return _whole(call, _found(call, ref, ref.version))


@operations.add("ListLayers", "functions.read")
def list_layers(call: Call) -> dict[str, Any]:
    size, after = size_of(call.given.get("MaxItems")), position_of(call.given.get("Marker"))
    found = call.services.layers.all(call.principal, call.home, after=after, limit=size + 1)
    answer: dict[str, Any] = {
        "Layers": [
            {
                "LayerName": each.name,
                "LayerArn": call.names.layer(each.namespace, each.name),
                "LatestMatchingVersion": _item(call, each),
            }
            for each in found[:size]
            if _matches(call, each)
        ]
    }
    if len(found) > size:
        answer["NextMarker"] = marker_of(found[size - 1].name)
    return answer


@operations.add("ListLayerVersions", "functions.read")
def list_layer_versions(call: Call) -> dict[str, Any]:
    ref, size = _ref(call), size_of(call.given.get("MaxItems"))
    position = position_of(call.given.get("Marker"))
    below = int(position) if position.isdigit() else None
    found = call.services.layers.versions(call.principal, ref.namespace, ref.name, below=below, limit=size + 1)
    answer: dict[str, Any] = {"LayerVersions": [_item(call, each) for each in found[:size] if _matches(call, each)]}
    if len(found) > size:
        answer["NextMarker"] = marker_of(found[size - 1].version)
    return answer


@operations.add("DeleteLayerVersion", "functions.delete", note="Functions that have it keep it, as in AWS")
def delete_layer_version(call: Call) -> dict[str, Any]:
    ref = _ref(call)
    call.services.layers.delete(call.principal, ref.namespace, ref.name, _number(call))
    return {}


@operations.add("AddLayerVersionPermission", "functions.deploy", state="stored", note=_kept)
def add_layer_version_permission(call: Call) -> dict[str, Any]:
    ref, given = _ref(call), call.given
    version = given["VersionNumber"]
    made = LayerStatement(
        sid=given["StatementId"],
        action=given["Action"],
        principal=given["Principal"],
        organization=given.get("OrganizationId"),
    )

    def change(there: Sequence[LayerStatement]) -> list[LayerStatement]:
        _check_revision(call, there)
        if any(each.sid == made.sid for each in there):
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({made.sid}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement.",
                409,
            )
        return [*there, made]

    statements = _permit(call, ref, version, change)
    shown = json.dumps(_shown(call, ref, version, made), separators=(",", ":"))
    return {"Statement": shown, "RevisionId": _revision(statements)}


@operations.add("GetLayerVersionPolicy", "functions.read", state="stored", note=_kept)
def get_layer_version_policy(call: Call) -> dict[str, Any]:
    ref, version = _ref(call), call.given["VersionNumber"]
    try:
        found = call.services.layers.version(call.principal, ref.namespace, ref.name, version)
    except NotFound as exc:
        raise _no_version(call, ref, version) from exc
    if not found.statements:
        raise AwsError("ResourceNotFoundException", "No policy is associated with the given resource.", 404)
    statements = [_shown(call, ref, version, each) for each in found.statements]
    policy = {"Version": "2012-10-17", "Id": "default", "Statement": statements}
    return {"Policy": json.dumps(policy, separators=(",", ":")), "RevisionId": _revision(found.statements)}


@operations.add("RemoveLayerVersionPermission", "functions.deploy", state="stored", note=_kept)
def remove_layer_version_permission(call: Call) -> dict[str, Any]:
    ref, sid = _ref(call), call.text("StatementId")

    def change(there: Sequence[LayerStatement]) -> list[LayerStatement]:
        _check_revision(call, there)
        rest = [each for each in there if each.sid != sid]
        if len(rest) == len(there):
            raise AwsError("ResourceNotFoundException", f"Statement {sid} is not found in resource policy.", 404)
        return rest

    _permit(call, ref, call.given["VersionNumber"], change)
    return {}


def _ref(call: Call) -> LayerRef:
    return parse_layer(call.text("LayerName"), call.home)


def _found(call: Call, ref: LayerRef, version: int) -> LayerVersion:
    try:
        return call.services.layers.version(call.principal, ref.namespace, ref.name, version)
    except NotFound as exc:
        raise AwsError("ResourceNotFoundException", GONE, 404) from exc


def _permit(call: Call, ref: LayerRef, version: int, change: Any) -> list[LayerStatement]:
    try:
        return call.services.layers.permit(call.principal, ref.namespace, ref.name, version, change)
    except NotFound as exc:
        raise _no_version(call, ref, version) from exc


def _no_version(call: Call, ref: LayerRef, version: int) -> AwsError:
    arn = call.names.layer(ref.namespace, ref.name, version)
    return AwsError("ResourceNotFoundException", f"Layer version {arn} does not exist.", 404)


def _number(call: Call) -> int:
    """The version that is asked for. Raises `AwsError`."""
    number: int = call.given["VersionNumber"]
    if number < 1:
        raise AwsError("InvalidParameterValueException", "Layer Version Cannot be less than 1")
    return number


def _matches(call: Call, layer: LayerVersion) -> bool:
    runtime, architecture = call.given.get("CompatibleRuntime"), call.given.get("CompatibleArchitecture")
    fits = runtime is None or runtime in layer.runtimes
    return fits and (architecture is None or architecture in layer.architectures)


def _item(call: Call, layer: LayerVersion) -> dict[str, Any]:
    at = datetime.fromtimestamp(layer.created_at_ms / 1000, UTC)
    item: dict[str, Any] = {
        "LayerVersionArn": call.names.layer(layer.namespace, layer.name, layer.version),
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{layer.created_at_ms % 1000:03d}+0000",
    }
    more = {
        "CompatibleRuntimes": layer.runtimes,
        "CompatibleArchitectures": layer.architectures,
        "LicenseInfo": layer.license,
    }
    return item | {name: value for name, value in more.items() if value}


def _whole(call: Call, layer: LayerVersion) -> dict[str, Any]:
    return _item(call, layer) | {
        "LayerArn": call.names.layer(layer.namespace, layer.name),
        "Content": {
            "Location": code_url(call, layer.namespace, layer.package),
            "CodeSha256": base64.b64encode(bytes.fromhex(layer.package)).decode(),
            "CodeSize": layer.size_bytes,
        },
    }


def _shown(call: Call, ref: LayerRef, version: int, statement: LayerStatement) -> dict[str, Any]:
    principal: Any = statement.principal
    if principal.isdigit():
        principal = {"AWS": f"arn:aws:iam::{principal}:root"}
    shown: dict[str, Any] = {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Principal": principal,
        "Action": statement.action,
        "Resource": call.names.layer(ref.namespace, ref.name, version),
    }
    if statement.organization is not None:
        shown["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": statement.organization}}
    return shown


def _revision(statements: Sequence[LayerStatement]) -> str:
    return revision_id(msgspec.json.encode(list(statements)).decode())


def _check_revision(call: Call, there: Sequence[LayerStatement]) -> None:
    asked = call.given.get("RevisionId")
    if asked and asked != _revision(there):
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve "
            "the latest Revision Id",
            412,
        )
