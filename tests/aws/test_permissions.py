"""Each operation lets in exactly the roles of its permission, and tells a foreign tenant nothing."""

from typing import Any, get_args

import pytest

from isotherm.aws.lambda_api.table import TABLE
from isotherm.tenancy.model import Principal
from isotherm.tenancy.policy import PERMISSIONS
from isotherm.wire.desired import Role
from tests.aws.conftest import ROLE, Desk
from tests.house import zipped

ZIP = zipped(app="x = 1")
ARN = "arn:aws:lambda:local:default:function:hello"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
URL_OPEN = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
# What each operation needs beside the name of the function.
NEEDS: dict[str, dict[str, Any]] = {
    "AddLayerVersionPermission": {
        "LayerName": "base", "VersionNumber": 1, "StatementId": "s", "Action": "lambda:GetLayerVersion",
        "Principal": "*",
    },
    "AddPermission": URL_OPEN,
    "CreateAlias": {"Name": "PROD", "FunctionVersion": "1"},
    "CreateEventSourceMapping": {"EventSourceArn": QUEUE},
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


def narrowed(desk: Desk, *scopes: str) -> Principal:
    house = desk.house
    made = house.tenancy.create_key(house.admin, "default", name="ci", role="developer", scopes=list(scopes))
    return house.tenancy.authenticate(made.token)


def test_a_key_for_deploys_keeps_variables_that_it_cannot_read(desk: Desk) -> None:
    desk.create(Environment={"Variables": {"TOKEN": "hidden-value"}})
    ci = narrowed(desk, "deploy:hel*")
    for name, given in (
        ("UpdateFunctionCode", {"ZipFile": zipped(app="x = 2")}),
        ("UpdateFunctionConfiguration", {"Timeout": 7}),
    ):
        status, body = desk.ask(name, ci, FunctionName="hello", **given)
        assert status == 200, body
        assert "hidden-value" not in str(body)
        desk.finish()
    _, shown = desk.ask("GetFunctionConfiguration", FunctionName="hello")
    assert (shown["Timeout"], shown["Environment"]) == (7, {"Variables": {"TOKEN": "hidden-value"}})
    assert desk.ask("UpdateFunctionCode", narrowed(desk, "deploy:other"), FunctionName="hello", ZipFile=ZIP)[0] == 403


def test_a_mapping_is_pointed_only_at_what_one_may_deploy(desk: Desk) -> None:
    for name in ("hello", "other"):
        desk.create(name)
    desk.house.tenancy.create_namespace(desk.house.admin, "team")
    _, made = desk.ask("CreateEventSourceMapping", FunctionName="hello", EventSourceArn=QUEUE)
    ci = narrowed(desk, "read", "deploy:hel*")
    assert desk.ask("UpdateEventSourceMapping", ci, UUID=made["UUID"], BatchSize=5)[0] == 202
    status, body = desk.ask("UpdateEventSourceMapping", ci, UUID=made["UUID"], FunctionName="other")
    assert (status, "deploy" in str(body)) == (403, True)
    assert desk.ask("UpdateEventSourceMapping", UUID=made["UUID"], FunctionName="other")[0] == 202
    desk.house.deploy_ready("there", "team")
    foreign = "arn:aws:lambda:local:team:function:there"
    status, body = desk.ask("UpdateEventSourceMapping", UUID=made["UUID"], FunctionName=foreign)
    assert (status, "stays in its namespace" in str(body)) == (400, True)
