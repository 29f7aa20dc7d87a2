"""What boto3 is told where AWS says no: name, status and sentence of each, as suites that were recorded against AWS
have them. One function, one version, one alias, one layer; what is asked of them is in the table."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.e2e.aws import ROLE, client, zip_of
from tests.e2e.conftest import Platform

pytestmark = pytest.mark.e2e

GONE = "The resource you requested does not exist."
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
UNQUALIFIED = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN."
)
SPACE = "arn:aws:lambda:local:default"


@dataclass(frozen=True)
class There:
    """Names of what is there. `a`: the ARN of the function; `no`: a function that is not."""

    aws: Any
    f: str
    layer: str

    @property
    def a(self) -> str:
        return f"{SPACE}:function:{self.f}"

    @property
    def no(self) -> str:
        return f"{self.f}-no"

    def layer_arn(self, version: int) -> str:
        return f"{SPACE}:layer:{self.layer}:{version}"


@pytest.fixture(scope="module")
def there(platform: Platform) -> Iterator[There]:
    aws, mark = client(platform), uuid.uuid4().hex[:8]
    made = There(aws, f"errors-{mark}", f"errors-{mark}")
    aws.create_function(
        FunctionName=made.f,
        Runtime="python3.11",
        Role=ROLE,
        Handler="app.handler",
        Code={"ZipFile": zip_of(app="def handler(event, context):\n    return event\n")},
    )
    aws.get_waiter("function_active_v2").wait(FunctionName=made.f, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    aws.publish_version(FunctionName=made.f)
    aws.create_alias(FunctionName=made.f, Name="PROD", FunctionVersion="1")
    for _ in range(2):
        aws.publish_layer_version(LayerName=made.layer, Content={"ZipFile": zip_of(**{"python/a.py": "A = 1\n"})})
    yield made
    aws.delete_function(FunctionName=made.f)
    for version in (1, 2):
        aws.delete_layer_version(LayerName=made.layer, VersionNumber=version)


Row = tuple[str, Callable[[There], dict[str, Any]], str, int, Callable[[There], str]]


def missing(operation: str, given: Callable[[There], dict[str, Any]], text: Callable[[There], str]) -> Row:
    return operation, given, "ResourceNotFoundException", 404, text


def wrong(operation: str, given: Callable[[There], dict[str, Any]], text: Callable[[There], str]) -> Row:
    return operation, given, "InvalidParameterValueException", 400, text


def arn(t: There, qualifier: str = "") -> str:
    return t.a + (f":{qualifier}" if qualifier else "")


def permission(**given: Any) -> Callable[[There], dict[str, Any]]:
    return lambda t: (
        {
            "FunctionName": t.f,
            "StatementId": "s",
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
        }
        | given
    )


def layers(*versions: int) -> Callable[[There], dict[str, Any]]:
    return lambda t: {"FunctionName": t.f, "Layers": [t.layer_arn(version) for version in versions]}


ROWS: list[Row] = [
    missing("get_function", lambda t: {"FunctionName": t.no}, lambda t: f"Function not found: {t.a}-no"),
    missing(
        "get_function",
        lambda t: {"FunctionName": t.f, "Qualifier": "7"},
        lambda t: f"Function not found: {arn(t, '7')}",
    ),
    missing(
        "get_function",
        lambda t: {"FunctionName": t.f, "Qualifier": "BETA"},
        lambda t: f"Function not found: {arn(t, 'BETA')}",
    ),
    missing(
        "delete_function",
        lambda t: {"FunctionName": t.no, "Qualifier": "7"},
        lambda t: f"Function not found: {t.a}-no",
    ),
    missing("invoke", lambda t: {"FunctionName": t.no}, lambda t: f"Function not found: {t.a}-no"),
    missing("invoke", lambda t: {"FunctionName": f"{t.f}:7"}, lambda t: f"Function not found: {arn(t, '7')}"),
    *(
        missing(
            operation,
            lambda t: {"FunctionName": t.a.replace(":local:", ":us-east-1:")},
            lambda _: "Functions from 'us-east-1' are not reachable in this region ('local')",
        )
        for operation in ("get_function", "delete_function", "invoke")
    ),
    wrong("get_function", lambda t: {"FunctionName": arn(t, "1"), "Qualifier": "PROD"}, lambda _: MISMATCH),
    wrong(
        "delete_function",
        lambda t: {"FunctionName": t.f, "Qualifier": "$LATEST"},
        lambda _: "$LATEST version cannot be deleted without deleting the function.",
    ),
    wrong(
        "update_function_configuration",
        lambda t: {"FunctionName": t.f, "Environment": {"Variables": {"LARGE": "x" * 4096}}},
        lambda _: (
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided exceeded the 4KB limit. String measured: 4108 bytes of LARGE"
        ),
    ),
    wrong(
        "update_function_code",
        lambda t: {"FunctionName": t.f, "ZipFile": b"no zip"},
        lambda _: "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    ("update_function_code", lambda t: {"FunctionName": t.f, "ZipFile": zip_of(app=""), "RevisionId": "another"},
     "PreconditionFailedException", 412, lambda _: STALE),
    ("update_alias", lambda t: {"FunctionName": t.f, "Name": "PROD", "RevisionId": "another"},
     "PreconditionFailedException", 412, lambda _: STALE),
    missing(
        "create_alias",
        lambda t: {"FunctionName": t.no, "Name": "a", "FunctionVersion": "1"},
        lambda t: f"Function not found: {t.a}-no:1",
    ),
    wrong(
        "create_alias",
        lambda t: {
            "FunctionName": t.f,
            "Name": "a",
            "FunctionVersion": "$LATEST",
            "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
        },
        lambda _: "$LATEST is not supported for an alias pointing to more than 1 version",
    ),
    missing(
        "put_function_concurrency",
        lambda t: {"FunctionName": t.no, "ReservedConcurrentExecutions": 1},
        lambda t: f"Function not found: {t.a}-no:$LATEST",
    ),
    wrong(
        "put_function_concurrency",
        lambda t: {"FunctionName": arn(t, "1"), "ReservedConcurrentExecutions": 1},
        lambda _: UNQUALIFIED,
    ),
    wrong(
        "put_provisioned_concurrency_config",
        lambda t: {"FunctionName": t.f, "Qualifier": "$LATEST", "ProvisionedConcurrentExecutions": 1},
        lambda _: "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    ),
    wrong(
        "get_provisioned_concurrency_config",
        lambda t: {"FunctionName": t.f, "Qualifier": "$LATEST"},
        lambda _: "The function resource provided must be an alias or a published version.",
    ),
    missing(
        "get_provisioned_concurrency_config",
        lambda t: {"FunctionName": t.f, "Qualifier": "BETA"},
        lambda t: f"Cannot find alias arn: {arn(t, 'BETA')}",
    ),
    missing("add_permission", permission(Qualifier="7"), lambda t: f"Function not found: {arn(t, '7')}"),
    wrong(
        "add_permission",
        permission(Qualifier="$LATEST"),
        lambda _: "We currently do not support adding policies for $LATEST.",
    ),
    wrong(
        "add_permission",
        permission(Principal="some.example.org"),
        lambda _: "The provided principal was invalid. Please check the principal and try again.",
    ),
    missing(
        "remove_permission",
        lambda t: {"FunctionName": t.f, "StatementId": "s"},
        lambda _: "No policy is associated with the given resource.",
    ),
    missing("get_policy", lambda t: {"FunctionName": t.f, "Qualifier": "7"}, lambda _: GONE),
    missing("get_function_url_config", lambda t: {"FunctionName": t.no}, lambda _: GONE),
    missing(
        "create_function_url_config",
        lambda t: {"FunctionName": t.no, "AuthType": "NONE"},
        lambda _: "Function does not exist",
    ),
    missing(
        "put_function_event_invoke_config",
        lambda t: {"FunctionName": t.no, "MaximumRetryAttempts": 1},
        lambda _: "The function doesn't exist.",
    ),
    missing(
        "get_function_event_invoke_config",
        lambda t: {"FunctionName": t.no},
        lambda t: f"The function {t.a}-no:$LATEST doesn't have an EventInvokeConfig",
    ),
    wrong(
        "put_function_event_invoke_config",
        lambda t: {"FunctionName": t.f, "DestinationConfig": {"OnSuccess": {"Destination": f"{t.a}-no"}}},
        lambda t: f"The destination ARN {t.a}-no is invalid.",
    ),
    wrong(
        "put_function_event_invoke_config",
        lambda t: {
            "FunctionName": t.f,
            "DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:iam:local:default:x"}},
        },
        lambda _: (
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            "arn:aws:iam:local:default:x), onFailure=null) is invalid."
        ),
    ),
    missing(
        "tag_resource",
        lambda t: {"Resource": f"{t.a}-no", "Tags": {"a": "b"}},
        lambda t: f"Function not found: {t.a}-no",
    ),
    wrong(
        "tag_resource",
        lambda t: {"Resource": arn(t, "1"), "Tags": {"a": "b"}},
        lambda _: "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    ),
    wrong(
        "tag_resource",
        lambda t: {"Resource": t.a, "Tags": {}},
        lambda _: "An error occurred and the request cannot be processed.",
    ),
    wrong(
        "update_function_configuration",
        layers(1, 2),
        lambda t: (
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{t.layer_arn(1)} and {t.layer_arn(2)} are versions of the same layer."
        ),
    ),
    wrong(
        "update_function_configuration", layers(9), lambda t: f"Layer version {t.layer_arn(9)} does not exist."
    ),
    wrong(
        "update_function_configuration",
        lambda t: {"FunctionName": t.f, "Layers": [t.layer_arn(1).replace(":local:", ":us-east-1:")]},
        lambda _: "Layers are not in the same region as the function. Layers are expected to be in region local.",
    ),
    wrong(
        "get_layer_version",
        lambda t: {"LayerName": t.layer, "VersionNumber": 0},
        lambda _: "Layer Version Cannot be less than 1",
    ),
    missing(
        "get_layer_version_policy",
        lambda t: {"LayerName": t.layer, "VersionNumber": 9},
        lambda t: f"Layer version {t.layer_arn(9)} does not exist.",
    ),
    wrong(
        "create_event_source_mapping",
        lambda t: {"FunctionName": t.no, "EventSourceArn": "arn:aws:sqs:local:123456789012:queue"},
        lambda _: "Function does not exist",
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_refusal_is_told_as_aws_tells_it(there: There, row: Row) -> None:
    operation, given, code, status, text = row
    with pytest.raises(ClientError) as error:
        getattr(there.aws, operation)(**given(there))
    response = error.value.response
    got = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]
    assert got == (code, status, text(there))


def test_a_version_is_kept_warm_by_its_number_or_by_an_alias(there: There) -> None:
    """Not by both: AWS keeps the instances of one version under one name."""
    place = {"FunctionName": there.f, "ProvisionedConcurrentExecutions": 1}
    for first, second, text in (
        (
            "1",
            "PROD",
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        ),
        ("PROD", "1", "Version is pointed by a Provisioned Concurrency alias"),
    ):
        there.aws.put_provisioned_concurrency_config(Qualifier=first, **place)
        with pytest.raises(there.aws.exceptions.ResourceConflictException, match=text):
            there.aws.put_provisioned_concurrency_config(Qualifier=second, **place)
        there.aws.delete_provisioned_concurrency_config(FunctionName=there.f, Qualifier=first)


def test_a_revision_id_is_another_one_after_each_change(there: There) -> None:
    """A state, a version and a permission among them; that of the policy is the function's."""
    aws, found = there.aws, []

    def see() -> None:
        found.append(aws.get_function_configuration(FunctionName=there.f)["RevisionId"])

    see()
    under_way = aws.update_function_configuration(FunctionName=there.f, Description="another", RevisionId=found[0])
    found.append(under_way["RevisionId"])
    aws.get_waiter("function_updated_v2").wait(FunctionName=there.f, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    see()
    aws.publish_version(FunctionName=there.f)
    see()
    aws.add_permission(FunctionName=there.f, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    see()
    assert aws.get_policy(FunctionName=there.f)["RevisionId"] == found[-1]
    aws.remove_permission(FunctionName=there.f, StatementId="s", RevisionId=found[-1])
    changed = {found[0], *found[2:]} | ({found[1]} if under_way["LastUpdateStatus"] == "InProgress" else set())
    assert len(changed) == (5 if under_way["LastUpdateStatus"] == "InProgress" else 4)
    listed = {each["FunctionName"]: each["RevisionId"] for each in aws.list_functions()["Functions"]}
    assert listed[there.f] == aws.get_function_configuration(FunctionName=there.f)["RevisionId"]
