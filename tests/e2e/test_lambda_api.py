"""boto3's Lambda client, unmodified, on a running platform: functions, versions, aliases, calls."""

import base64
import contextlib
import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.e2e.aws import ROLE, client, zip_of
from tests.e2e.conftest import Platform, wait_until

pytestmark = pytest.mark.e2e

CODE = """
import os

def lambda_handler(event, context):
    print("increment", event)
    return {"result": event.get("number", 0) + 1, "version": context.function_version,
            "arn": context.invoked_function_arn, "mode": os.environ.get("MODE"), "memory": context.memory_limit_in_mb}
"""


@pytest.fixture(scope="module")
def aws(platform: Platform) -> Any:
    return client(platform)


@pytest.fixture
def name(aws: Any) -> Iterator[str]:
    """A name of AWS's kind; what is made under it is gone after the test."""
    chosen = f"My_Function-{uuid.uuid4().hex[:8]}"
    yield chosen
    with contextlib.suppress(aws.exceptions.ResourceNotFoundException):
        aws.delete_function(FunctionName=chosen)


def create(aws: Any, name: str, code: str = CODE, **given: Any) -> dict[str, Any]:
    values = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler"} | given
    made: dict[str, Any] = aws.create_function(
        FunctionName=name, Code={"ZipFile": zip_of(lambda_function=code)}, **values
    )
    return made


def created(aws: Any, name: str, code: str = CODE, **given: Any) -> dict[str, Any]:
    """One that is active."""
    made = create(aws, name, code, **given)
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    return made


def updated(aws: Any, name: str) -> None:
    aws.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})


def call(aws: Any, name: str, event: Any = None, **given: Any) -> Any:
    answer = aws.invoke(FunctionName=name, Payload=json.dumps(event or {}), **given)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.load(answer["Payload"])


def refused(code: str, status: int | None = None) -> Any:
    """An error with this code, and the status that AWS has for it."""

    class Refused:
        def __enter__(self) -> "Refused":
            self._raises = pytest.raises(ClientError)
            self.info = self._raises.__enter__()
            return self

        def __exit__(self, *about: Any) -> Any:
            done = self._raises.__exit__(*about)
            if not done:
                return done  # another exception
            response = self.info.value.response
            assert response["Error"]["Code"] == code, response
            assert status in (None, response["ResponseMetadata"]["HTTPStatusCode"]), response
            return done

        @property
        def message(self) -> str:
            return str(self.info.value.response["Error"]["Message"])

    return Refused()


def test_the_get_started_scenario_of_a_function(aws: Any, name: str) -> None:
    """Create, wait, call with a log, change code and configuration, list, delete: as AWS's first examples do."""
    code = f"import time\ntime.sleep(0.5)\n{CODE}"  # so that it is told of while it is made
    made = create(aws, name, code, Description="Increments", Publish=True)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["State"] == "Pending"
    assert made["StateReasonCode"] == "Creating"
    assert made["FunctionArn"] == f"arn:aws:lambda:local:default:function:{name}"
    assert made["Version"] == "1"
    assert made["Role"] == ROLE
    assert made["Handler"] == "lambda_function.lambda_handler"
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(zip_of(lambda_function=code)).digest()).decode()
    assert made["CodeSize"] == len(zip_of(lambda_function=code))
    assert (made["MemorySize"], made["Timeout"], made["PackageType"]) == (128, 3, "Zip")
    assert made["EphemeralStorage"] == {"Size": 512}
    assert made["TracingConfig"] == {"Mode": "PassThrough"}
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})

    found = aws.get_function(FunctionName=name)
    assert found["Configuration"]["State"] == "Active"
    assert found["Configuration"]["LastUpdateStatus"] == "Successful"
    assert found["Code"]["RepositoryType"] == "S3"
    fetched = httpx.get(found["Code"]["Location"])
    assert zipfile.ZipFile(io.BytesIO(fetched.content)).namelist() == ["lambda_function.py"]

    answer = aws.invoke(FunctionName=name, Payload=json.dumps({"number": 5}), LogType="Tail")
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert json.load(answer["Payload"])["result"] == 6
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "increment {'number': 5}" in log
    assert "Version: $LATEST" in log

    changed = aws.update_function_code(FunctionName=name, ZipFile=zip_of(lambda_function=code.replace("+ 1", "* 2")))
    assert changed["LastUpdateStatus"] == "InProgress"
    assert changed["State"] == "Active"
    assert changed["RevisionId"] != found["Configuration"]["RevisionId"]
    updated(aws, name)
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"MODE": "double"}}, Timeout=10)
    updated(aws, name)
    assert call(aws, name, {"number": 5}) | {"arn": ""} == {
        "result": 10, "version": "$LATEST", "arn": "", "mode": "double", "memory": "128"
    }  # fmt: skip
    names = [
        each["FunctionName"] for page in aws.get_paginator("list_functions").paginate() for each in page["Functions"]
    ]
    assert name in names
    assert aws.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
    with refused("ResourceNotFoundException", 404):
        aws.get_function(FunctionName=name)


def test_a_function_that_boto3_made_is_one_of_the_command_lines(platform: Platform, aws: Any, name: str) -> None:
    created(aws, name, Environment={"Variables": {"MODE": "boto3"}})
    assert name in platform.cli("ls").out
    assert platform.cli("invoke", name, "-d", '{"number": 1}').json["mode"] == "boto3"
    wait_until(lambda: "increment {'number': 1}" in platform.cli("logs", name).out, "its log")
    assert platform.cli("show", name, "--json").json["latest"]["config"]["memory_mb"] == 128


def test_a_function_that_the_command_line_made_is_one_of_boto3s(platform: Platform, aws: Any) -> None:
    platform.function("by-hand", "def handler(event, context):\n    return context.function_version\n", memory_mb=200)
    found = aws.get_function_configuration(FunctionName="by-hand")
    assert (found["MemorySize"], found["Handler"], found["Version"]) == (200, "app.handler", "$LATEST")
    assert [each["Version"] for each in aws.list_versions_by_function(FunctionName="by-hand")["Versions"]] == [
        "$LATEST",
        "1",
    ]
    aws.update_function_configuration(FunctionName="by-hand", MemorySize=300)
    updated(aws, "by-hand")
    assert platform.cli("show", "by-hand", "--json").json["latest"]["config"]["memory_mb"] == 300
    assert aws.publish_version(FunctionName="by-hand")["Version"] == "2"
    assert call(aws, "by-hand:1") == "1"
    assert call(aws, "by-hand:2") == "2"


def test_a_failed_import_is_a_failed_function(aws: Any, name: str) -> None:
    create(aws, name, "import nothing_of_this_name\n")
    with pytest.raises(WaiterError):
        aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 200})
    found = aws.get_function_configuration(FunctionName=name)
    assert found["State"] == "Failed"
    assert found["StateReasonCode"] == "FunctionError.RuntimeInitError"
    assert "No module named 'nothing_of_this_name'" in found["StateReason"]


def test_a_failed_update_leaves_what_was_there(aws: Any, name: str) -> None:
    created(aws, name)
    aws.update_function_code(FunctionName=name, ZipFile=zip_of(lambda_function="raise ValueError('broken')"))
    with pytest.raises(WaiterError):
        updated(aws, name)
    found = aws.get_function_configuration(FunctionName=name)
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Failed")
    assert "broken" in found["LastUpdateStatusReason"]
    assert call(aws, name, {"number": 1})["result"] == 2


# -- conflicts and what is refused -----------------------------------------------------------------------------------


def test_what_is_refused_has_awss_names_and_words(aws: Any, name: str) -> None:
    created(aws, name)
    with refused("ResourceConflictException", 409) as conflict:
        create(aws, name)
    assert conflict.message == f"Function already exist: {name}"
    with refused("PreconditionFailedException", 412) as stale:
        aws.update_function_configuration(FunctionName=name, Timeout=5, RevisionId=str(uuid.uuid4()))
    assert stale.message.startswith("The Revision Id provided does not match the latest Revision Id.")
    with refused("InvalidParameterValueException", 400) as runtime:
        create(aws, f"{name}2", Runtime="python3.6")
    assert runtime.message.startswith(
        "Value python3.6 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [python3.11"
    )
    with refused("ValidationException", 400) as invalid:
        create(aws, "no name", MemorySize=100_000)
    assert invalid.message.startswith("2 validation errors detected: ")
    assert (
        "Value 'no name' at 'functionName' failed to satisfy constraint: Member must satisfy regular" in invalid.message
    )
    assert "Value '100000' at 'memorySize' failed to satisfy constraint: Member must have value less" in invalid.message
    with refused("InvalidParameterValueException", 400) as not_zip:
        aws.update_function_code(FunctionName=name, ZipFile=b"no zip")
    assert not_zip.message.startswith("Could not unzip uploaded file.")
    with refused("InvalidParameterValueException", 400) as reserved:
        aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"AWS_REGION": "x"}})
    assert reserved.message.endswith("Reserved keys used in this request: AWS_REGION")
    with refused("InvalidParameterValueException", 400) as bucket:
        aws.update_function_code(FunctionName=name, S3Bucket="bucket", S3Key="key")
    assert "S3Bucket is not supported by this platform" in bucket.message
    with refused("InvalidParameterValueException", 400) as vpc:
        aws.update_function_configuration(FunctionName=name, VpcConfig={"SubnetIds": ["subnet-1"]})
    assert "VpcConfig is not supported by this platform" in vpc.message


def test_a_second_change_waits_for_the_first(aws: Any, name: str) -> None:
    created(aws, name)
    aws.update_function_code(FunctionName=name, ZipFile=zip_of(lambda_function=f"import time\ntime.sleep(4)\n{CODE}"))
    with refused("ResourceConflictException", 409) as busy:
        aws.update_function_configuration(FunctionName=name, Timeout=5)
    assert "An update is in progress for resource" in busy.message
    updated(aws, name)


def test_operations_that_are_not_there_are_refused_by_their_names(aws: Any) -> None:
    with refused("NotImplementedException", 501) as error:
        aws.list_code_signing_configs()
    assert error.message == "ListCodeSigningConfigs is not supported by this platform: code is not signed"


def test_what_does_not_exist(aws: Any) -> None:
    for ask in (
        lambda: aws.get_function(FunctionName="nothing"),
        lambda: aws.get_function_configuration(FunctionName="nothing"),
        lambda: aws.delete_function(FunctionName="nothing"),
        lambda: aws.update_function_configuration(FunctionName="nothing", Timeout=3),
        lambda: aws.list_versions_by_function(FunctionName="nothing"),
        lambda: aws.publish_version(FunctionName="nothing"),
        lambda: aws.get_policy(FunctionName="nothing"),
        lambda: aws.get_function_url_config(FunctionName="nothing"),
        lambda: aws.list_aliases(FunctionName="nothing"),
        lambda: aws.get_function_concurrency(FunctionName="nothing"),
        lambda: aws.get_event_source_mapping(UUID=str(uuid.uuid4())),
        lambda: aws.get_layer_version(LayerName="nothing", VersionNumber=1),
        lambda: aws.list_tags(Resource="arn:aws:lambda:local:default:function:nothing"),
    ):
        with refused("ResourceNotFoundException", 404):
            ask()


def test_a_function_is_found_by_every_form_of_its_name(aws: Any, name: str) -> None:
    arn = created(aws, name)["FunctionArn"]
    for form in (name, arn, f"{arn}:$LATEST", f"default:function:{name}", f"function:{name}", f"{name}:$LATEST"):
        assert aws.get_function(FunctionName=form)["Configuration"]["FunctionName"] == name, form
        assert call(aws, form, {"number": 1})["result"] == 2, form
    assert aws.get_function(FunctionName=name, Qualifier="$LATEST")["Configuration"]["FunctionArn"] == f"{arn}:$LATEST"


def test_a_key_may_do_what_its_role_says(platform: Platform, aws: Any, name: str) -> None:
    created(aws, name, Environment={"Variables": {"SECRET": "value"}})
    viewer = client(platform, platform.cli("keys", "create", "aws", "--role", "viewer", "--json").json)
    found = viewer.get_function_configuration(FunctionName=name)
    assert found["Environment"]["Error"]["ErrorCode"] == "AccessDeniedException"
    assert "Variables" not in found["Environment"]
    for ask in (
        lambda: create(viewer, f"{name}2"),
        lambda: viewer.update_function_configuration(FunctionName=name, Timeout=4),
        lambda: viewer.delete_function(FunctionName=name),
        lambda: viewer.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0),
        lambda: viewer.tag_resource(Resource=found["FunctionArn"], Tags={"a": "b"}),
    ):
        with refused("AccessDeniedException", 403):
            ask()
    with refused("UnrecognizedClientException", 403):
        client(platform, {"access_key_id": "ISONOBODY", "secret_access_key": "x"}).list_functions()


# -- versions and aliases --------------------------------------------------------------------------------------------


def test_versions_are_numbered_one_after_the_other_and_stay_as_they_are(aws: Any, name: str) -> None:
    created(aws, name, code="def lambda_handler(event, context):\n    return [1, context.function_version]\n")
    first = aws.publish_version(FunctionName=name, Description="the first")
    assert (first["Version"], first["Description"], first["ResponseMetadata"]["HTTPStatusCode"]) == (
        "1",
        "the first",
        201,
    )
    assert aws.publish_version(FunctionName=name)["Version"] == "1"  # nothing has changed since
    code = "def lambda_handler(event, context):\n    return [2, context.function_version]\n"
    changed = aws.update_function_code(FunctionName=name, ZipFile=zip_of(lambda_function=code))
    updated(aws, name)
    with refused("InvalidParameterValueException", 400):
        aws.publish_version(FunctionName=name, CodeSha256=first["CodeSha256"])
    assert aws.publish_version(FunctionName=name, CodeSha256=changed["CodeSha256"])["Version"] == "2"
    listed = aws.list_versions_by_function(FunctionName=name)["Versions"]
    assert [each["Version"] for each in listed] == ["$LATEST", "1", "2"]
    assert call(aws, name, Qualifier="1") == [1, "1"]
    assert call(aws, name, Qualifier="2") == [2, "2"]
    assert call(aws, name) == [2, "$LATEST"]
    assert aws.get_function_configuration(FunctionName=name, Qualifier="1")["CodeSha256"] == first["CodeSha256"]
    aws.delete_function(FunctionName=name, Qualifier="1")
    with refused("ResourceNotFoundException", 404):
        aws.get_function(FunctionName=name, Qualifier="1")
    with refused("InvalidParameterValueException", 400):
        aws.delete_function(FunctionName=name, Qualifier="$LATEST")
    aws.update_function_configuration(FunctionName=name, Description="third")
    updated(aws, name)
    assert aws.publish_version(FunctionName=name)["Version"] == "3"  # 1 is never used again


def test_lists_come_in_pages(aws: Any, name: str) -> None:
    created(aws, name)
    for number in range(4):
        aws.update_function_configuration(FunctionName=name, Description=str(number))
        updated(aws, name)
        aws.publish_version(FunctionName=name)
    pages = aws.get_paginator("list_versions_by_function").paginate(FunctionName=name, PaginationConfig={"PageSize": 2})
    sizes_and_versions = [[each["Version"] for each in page["Versions"]] for page in pages]
    assert sizes_and_versions == [["$LATEST", "1"], ["2", "3"], ["4"]]


def test_an_alias_shares_its_calls_between_two_versions(aws: Any, name: str) -> None:
    code = "def lambda_handler(event, context):\n    return {}\n"
    created(aws, name, code=code.replace("{}", "'one'"), Publish=True)
    aws.update_function_code(
        FunctionName=name, ZipFile=zip_of(lambda_function=code.replace("{}", "'two'")), Publish=True
    )
    updated(aws, name)
    made = aws.create_alias(FunctionName=name, Name="PROD", FunctionVersion="1", Description="what customers call")
    assert made["AliasArn"].endswith(f":function:{name}:PROD")
    assert (made["FunctionVersion"], made["Description"]) == ("1", "what customers call")
    with refused("ResourceConflictException", 409):
        aws.create_alias(FunctionName=name, Name="PROD", FunctionVersion="1")
    answer = aws.invoke(FunctionName=name, Qualifier="PROD")
    assert (json.load(answer["Payload"]), answer["ExecutedVersion"]) == ("one", "1")
    moved = aws.update_alias(
        FunctionName=name, Name="PROD", RevisionId=made["RevisionId"],
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}},
    )  # fmt: skip
    assert moved["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}
    assert moved["FunctionVersion"] == "1"
    with refused("PreconditionFailedException", 412):
        aws.update_alias(FunctionName=name, Name="PROD", RevisionId=made["RevisionId"], Description="late")
    answers = [call(aws, f"{name}:PROD") for _ in range(40)]
    assert 6 <= answers.count("two") <= 14
    assert aws.get_alias(FunctionName=name, Name="PROD")["RevisionId"] == moved["RevisionId"]
    assert aws.get_function_configuration(FunctionName=name, Qualifier="PROD")["Version"] == "1"
    with refused("ResourceConflictException", 409):
        aws.delete_function(FunctionName=name, Qualifier="1")
    aws.update_alias(
        FunctionName=name, Name="PROD", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert aws.get_alias(FunctionName=name, Name="PROD")["FunctionVersion"] == "2"
    aws.create_alias(FunctionName=name, Name="beta", FunctionVersion="1")
    listed = aws.list_aliases(FunctionName=name)["Aliases"]
    assert [each["Name"] for each in listed] == ["PROD", "beta"]
    assert [each["Name"] for each in aws.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]] == ["beta"]
    aws.delete_alias(FunctionName=name, Name="PROD")
    with refused("ResourceNotFoundException", 404) as gone:
        aws.get_alias(FunctionName=name, Name="PROD")
    assert gone.message.startswith("Cannot find alias arn: arn:aws:lambda:local:default:function:")
    with refused("ResourceNotFoundException", 404):
        aws.create_alias(FunctionName=name, Name="gamma", FunctionVersion="7")
    with refused("InvalidParameterValueException", 400):
        aws.create_alias(FunctionName=name, Name="head", FunctionVersion="$LATEST")


# -- calls -----------------------------------------------------------------------------------------------------------


def test_calls_of_every_kind(aws: Any, name: str) -> None:
    code = (
        "def lambda_handler(event, context):\n"
        "    if event.get('fail'):\n        raise ValueError('as asked')\n"
        "    custom = context.client_context.custom if context.client_context else None\n"
        "    return [custom, context.invoked_function_arn.rsplit(':', 2)[1:]]\n"
    )
    created(aws, name, code=code, Publish=True)
    context = base64.b64encode(json.dumps({"custom": {"shop": "north"}}).encode()).decode()
    assert call(aws, name, ClientContext=context)[0] == {"shop": "north"}
    assert call(aws, name, Qualifier="1")[1] == [name, "1"]
    failed = aws.invoke(FunctionName=name, Payload=b'{"fail": true}')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    error = json.load(failed["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "as asked")
    assert aws.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert aws.invoke(FunctionName=name, InvocationType="Event")["StatusCode"] == 202
    stream = aws.invoke_with_response_stream(FunctionName=name, Payload=b"{}")["EventStream"]
    kinds = [next(iter(event)) for event in stream]
    assert kinds == ["PayloadChunk", "InvokeComplete"]
