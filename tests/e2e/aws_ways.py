"""Each operation of the Lambda API as a way in: who may take it, and what it is asked with.

`{ns}` and `{name}` in what is given stand for the namespace and the function; other braces for what `Walk.ids` has.
What would change something is asked of a function that is not there, so who is let in gets a refusal, too.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import prepare_request_dict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from isotherm.aws.lambda_api.absent import ABSENT
from tests.e2e.way import LOGGED_IN, Way

__all__ = ["AWS", "request_of", "text_of"]

ARN = "arn:aws:lambda:local:{ns}:function:{name}"
LAYER = "arn:aws:lambda:local:{ns}:layer:base"
OF_LAYER = {"LayerName": LAYER, "VersionNumber": 1}
NO_ZIP = b"PK"
_role = "arn:aws:iam::123456789012:role/lambda-role"


def _reads(answers: int = 200, **given: Any) -> Way:
    return Way("ADV", answers, "read deploy", without=403, given={"FunctionName": ARN} | given)


def _writes(answers: int = 404, scopes: str = "deploy", **given: Any) -> Way:
    return Way("AD", answers, scopes, without=403, given={"FunctionName": ARN} | given)


def _of(way: Way, **given: Any) -> Way:
    """The same, with this alone."""
    return way.replaced(given=given)


_layer_read = _of(_reads(), **OF_LAYER)
_mapping = {"UUID": "{mapping}"}

# By the name of the operation. Those without a namespace in what they are given are about the caller's own.
AWS: dict[str, Way] = {
    "AddLayerVersionPermission": _of(
        _writes(), LayerName=LAYER, VersionNumber=9, StatementId="s", Action="lambda:GetLayerVersion", Principal="*"
    ),
    "AddPermission": _writes(StatementId="s", Action="lambda:InvokeFunctionUrl", Principal="*"),
    "CreateAlias": _writes(Name="PROD", FunctionVersion="1"),
    "CreateEventSourceMapping": _writes(400, EventSourceArn="arn:aws:sqs:eu-west-1:123456789012:q"),
    "CreateFunction": _writes(
        400, Role=_role, Runtime="python3.11", Handler="app.handler", Code={"ZipFile": NO_ZIP}
    ).replaced(loose=True),
    "CreateFunctionUrlConfig": _writes(AuthType="NONE"),
    "DeleteAlias": _writes(Name="PROD"),
    "DeleteEventSourceMapping": _of(_writes(), **_mapping).replaced(loose=True),
    "DeleteFunction": _writes(404, "delete"),
    "DeleteFunctionConcurrency": _writes(),
    "DeleteFunctionEventInvokeConfig": _writes(),
    "DeleteFunctionUrlConfig": _writes(),
    "DeleteLayerVersion": _of(_writes(204, "delete"), LayerName=LAYER, VersionNumber=9),
    "DeleteProvisionedConcurrencyConfig": _writes(Qualifier="1"),
    "GetAccountSettings": _of(_reads()),
    "GetAlias": _reads(404, Name="PROD"),
    "GetEventSourceMapping": _of(_reads(), **_mapping).replaced(loose=True),
    "GetFunction": _reads(),
    "GetFunctionCodeSigningConfig": _reads(),
    "GetFunctionConcurrency": _reads(),
    "GetFunctionConfiguration": _reads(),
    "GetFunctionEventInvokeConfig": _reads(404),
    "GetFunctionRecursionConfig": _reads(),
    "GetFunctionUrlConfig": _reads(404),
    "GetLayerVersion": _layer_read,
    "GetLayerVersionByArn": _of(_reads(), Arn=f"{LAYER}:1"),
    "GetLayerVersionPolicy": _of(_reads(404), **OF_LAYER),
    "GetPolicy": _reads(404),
    "GetProvisionedConcurrencyConfig": _reads(404, Qualifier="1"),
    "GetRuntimeManagementConfig": _reads(),
    "ListAliases": _reads(),
    "ListEventSourceMappings": _reads(),
    "ListFunctionEventInvokeConfigs": _reads(),
    "ListFunctionUrlConfigs": _reads(),
    "ListFunctions": _of(_reads()),
    "ListLayerVersions": _of(_reads(), LayerName=LAYER),
    "ListLayers": _of(_reads()),
    "ListProvisionedConcurrencyConfigs": _reads(),
    "ListTags": _of(_reads(), Resource=ARN),
    "ListVersionsByFunction": _reads(),
    "PublishLayerVersion": _of(_writes(400), LayerName=LAYER, Content={"ZipFile": NO_ZIP}).replaced(loose=True),
    "PublishVersion": _writes(),
    "PutFunctionConcurrency": _writes(ReservedConcurrentExecutions=1),
    "PutFunctionEventInvokeConfig": _writes(MaximumRetryAttempts=1),
    "PutFunctionRecursionConfig": _writes(RecursiveLoop="Allow"),
    "PutProvisionedConcurrencyConfig": _writes(Qualifier="1", ProvisionedConcurrentExecutions=1),
    "PutRuntimeManagementConfig": _writes(UpdateRuntimeOn="Auto"),
    "RemoveLayerVersionPermission": _of(_writes(), LayerName=LAYER, VersionNumber=9, StatementId="s"),
    "RemovePermission": _writes(StatementId="s"),
    "TagResource": _of(_writes(), Resource=ARN, Tags={"a": "b"}),
    "UntagResource": _of(_writes(), Resource=ARN, TagKeys=["a"]),
    "UpdateAlias": _writes(Name="PROD"),
    "UpdateEventSourceMapping": _of(_writes(), **_mapping).replaced(loose=True),
    "UpdateFunctionCode": _writes(ZipFile=NO_ZIP),
    "UpdateFunctionConfiguration": _writes(Timeout=5),
    "UpdateFunctionEventInvokeConfig": _writes(MaximumRetryAttempts=1),
    "UpdateFunctionUrlConfig": _writes(AuthType="NONE"),
    **{name: Way(LOGGED_IN, 501, "every", without=403, given={}) for name in ABSENT},
}


@cache
def _model() -> Any:
    return ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")


def request_of(operation: str, values: Mapping[str, str]) -> tuple[str, str, dict[str, str], bytes]:
    """Method, target, headers and body, as AWS's clients make them."""
    model = _model().operation_model(operation)
    given = AWS[operation].given
    if not given and model.input_shape is not None:  # what is not there needs no sense in what it is asked
        given = {name: _some(model.input_shape.members[name]) for name in model.input_shape.required_members}
    filled = _filled(given, values)
    request = create_serializer("rest-json", include_validation=False).serialize_to_request(filled, model)
    prepare_request_dict(request, endpoint_url="http://isotherm")
    parts = urlsplit(request["url"])
    target = quote(parts.path, safe="/%:") + (f"?{parts.query}" if parts.query else "")
    body = request["body"]
    content = body.encode() if isinstance(body, str) else bytes(body or b"")
    return request["method"], target, {k: str(v) for k, v in request["headers"].items()}, content


def _some(shape: Any) -> Any:
    kinds = {"integer": 1, "long": 1, "boolean": True, "list": [], "map": {}, "structure": {}, "blob": b"{}"}
    return kinds.get(shape.type_name, "x" * max(1, shape.metadata.get("min", 1)))


def _filled(given: Any, values: Mapping[str, str]) -> Any:
    if isinstance(given, Mapping):
        return {key: _filled(value, values) for key, value in given.items()}
    if not isinstance(given, str):
        return given
    return re.sub(r"{(\w+)}", lambda found: values.get(found[1], found[0]), given)


def text_of(operation: str) -> str:
    """How the walk names it: with what its input has of places."""
    said = json.dumps(
        {key: value for key, value in AWS[operation].given.items() if not isinstance(value, bytes)}, default=str
    )
    places = [place for place in ("{ns}", "{name}", "{mapping}") if place in said]
    return " ".join(["aws", operation, *places])
