"""Each operation lets in exactly the roles of its permission, and tells a foreign tenant nothing."""

from typing import Any, get_args

import pytest

from isotherm.aws.lambda_api.table import TABLE
from isotherm.tenancy.policy import PERMISSIONS
from isotherm.wire.desired import Role
from tests.aws.conftest import ROLE, Desk
from tests.house import zipped

ZIP = zipped(app="x = 1")
ARN = "arn:aws:lambda:local:default:function:hello"
URL_OPEN = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
# What each operation needs beside the name of the function.
NEEDS: dict[str, dict[str, Any]] = {
    "AddLayerVersionPermission": {
        "LayerName": "base", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:GetLayerVersion",
        "Principal": "*",
    },
    "AddPermission": URL_OPEN,
    "CreateAlias": {"Name": "PROD", "FunctionVersion": "1"},
    "CreateEventSourceMapping": {"EventSourceArn": "arn:aws:sqs:eu-west-1:123456789012:q"},
    "CreateFunction": {"FunctionName": "other", "Role": ROLE, "Runtime": "python3.11", "Handler": "app.handler",
                       "Code": {"ZipFile": ZIP}},
    "CreateFunctionUrlConfig": {"AuthType": "NONE"},
    "DeleteAlias": {"Name": "PROD"},
    "DeleteEventSourceMapping": {"UUID": "0" * 36},
    "DeleteLayerVersion": {"LayerName": "base", "VersionNumber": 1},
    "DeleteProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "GetAccountSettings": {},
    "GetAlias": {"Name": "PROD"},
    "GetEventSourceMapping": {"UUID": "0" * 36},
    "GetLayerVersion": {"LayerName": "base", "VersionNumber": 1},
    "GetLayerVersionByArn": {"Arn": "arn:aws:lambda:local:default:layer:base:1"},
    "GetLayerVersionPolicy": {"LayerName": "base", "VersionNumber": 1},
    "GetProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "ListEventSourceMappings": {},
    "ListFunctions": {},
    "ListLayerVersions": {"LayerName": "base"},
    "ListLayers": {},
    "ListTags": {"Resource": ARN},
    "PublishLayerVersion": {"LayerName": "base", "Content": {"ZipFile": ZIP}},
    "PutFunctionConcurrency": {"ReservedConcurrentExecutions": 1},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "PutFunctionRecursionConfig": {"RecursiveLoop": "Allow"},
    "PutProvisionedConcurrencyConfig": {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1},
    "PutRuntimeManagementConfig": {"UpdateRuntimeOn": "Auto"},
    "RemoveLayerVersionPermission": {"LayerName": "base", "VersionNumber": 1, "StatementId": "s"},
    "RemovePermission": {"StatementId": "s"},
    "TagResource": {"Resource": ARN, "Tags": {"a": "b"}},
    "UntagResource": {"Resource": ARN, "TagKeys": ["a"]},
    "UpdateAlias": {"Name": "PROD"},
    "UpdateEventSourceMapping": {"UUID": "0" * 36},
    "UpdateFunctionCode": {"ZipFile": ZIP},
    "UpdateFunctionConfiguration": {"Timeout": 5},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionUrlConfig": {"AuthType": "NONE"},
}  # fmt: skip
OPERATIONS = sorted(name for name, operation in TABLE.items() if operation.run is not None)


def input_of(desk: Desk, name: str) -> dict[str, Any]:
    members = desk.api.model.operation(name).input_shape.required_members
    return ({"FunctionName": "hello"} if "FunctionName" in members else {}) | NEEDS.get(name, {})


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_lets_in_exactly_the_roles_of_its_permission(desk: Desk, name: str) -> None:
    desk.create()
    desk.ask("PublishVersion", FunctionName="hello")
    needed = TABLE[name].permission
    for role in get_args(Role):
        status, body = desk.ask(name, desk.house.principal(role), **input_of(desk, name))
        allowed = needed in PERMISSIONS[role]
        assert (status == 403) == (not allowed), (role, status, body)
        assert status < 500, (role, status, body)
        desk.finish()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_foreign_tenant_cannot_tell_a_function_from_one_that_does_not_exist(desk: Desk, name: str) -> None:
    desk.house.tenancy.create_namespace(desk.house.admin, "team")
    desk.create()
    stranger = desk.house.principal("admin", "team")
    members = desk.api.model.operation(name).input_shape.members
    if "FunctionName" not in members:
        return
    answers = []
    for function in ("hello", "absent"):
        named = {"FunctionName": f"arn:aws:lambda:local:default:function:{function}"}
        answers.append(desk.ask(name, stranger, **(input_of(desk, name) | named)))
    known, absent = [(status, str(body).replace("absent", "hello")) for status, body in answers]
    assert known == absent
    assert known[0] in (403, 404)
