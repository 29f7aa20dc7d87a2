"""boto3's Lambda client, unmodified: URLs, permissions, concurrency, asynchronous calls, tags, layers, mappings."""

import json
import threading
from typing import Any

import httpx
import pytest

from tests.e2e.aws import zip_of
from tests.e2e.conftest import Platform, wait_until
from tests.e2e.test_lambda_api import aws, call, create, created, name, refused, updated

__all__ = ["aws", "name"]

pytestmark = pytest.mark.e2e

ECHO = "def lambda_handler(event, context):\n    return event\n"
SLOW = "import time\n\ndef lambda_handler(event, context):\n    time.sleep(event.get('s', 0))\n    return event\n"
KEEPER = """
import json

def lambda_handler(event, context):
    print("heard", json.dumps(event))
"""


# -- function URLs and permissions -----------------------------------------------------------------------------------


def test_a_url_is_open_once_its_policy_says_so(aws: Any, name: str) -> None:
    created(aws, name, ECHO)
    made = aws.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["AuthType"] == "NONE"
    assert aws.get_function_url_config(FunctionName=name)["InvokeMode"] == "BUFFERED"
    assert httpx.get(made["FunctionUrl"]).status_code in (401, 403)
    with refused("ResourceConflictException", 409):
        aws.create_function_url_config(FunctionName=name, AuthType="NONE")
    added = aws.add_permission(
        FunctionName=name,
        StatementId="open",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    assert json.loads(added["Statement"]) == {
        "Sid": "open",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": f"arn:aws:lambda:local:default:function:{name}",
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    }
    assert httpx.get(made["FunctionUrl"] + "path?a=b").json()["rawPath"] == "/path"
    aws.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert httpx.get(made["FunctionUrl"]).status_code in (401, 403)
    found = aws.get_function_url_config(FunctionName=name)
    assert (found["AuthType"], found["CreationTime"]) == ("AWS_IAM", made["CreationTime"])
    assert [each["FunctionUrl"] for each in aws.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]] == [
        made["FunctionUrl"]
    ]
    aws.delete_function_url_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        aws.get_function_url_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        aws.update_function_url_config(FunctionName=name, AuthType="NONE")


def test_a_url_tells_browsers_what_its_cors_says(aws: Any, name: str) -> None:
    created(aws, name, "def lambda_handler(event, context):\n    return {'statusCode': 200, 'body': 'x',"
            " 'headers': {'Access-Control-Allow-Origin': 'https://own.example'}}\n", Publish=True)  # fmt: skip
    aws.create_alias(FunctionName=name, Name="web", FunctionVersion="1")
    cors = {
        "AllowOrigins": ["https://shop.example"],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": ["content-type"],
        "ExposeHeaders": ["x-total"],
        "AllowCredentials": True,
        "MaxAge": 300,
    }
    made = aws.create_function_url_config(FunctionName=name, Qualifier="web", AuthType="NONE", Cors=cors)
    assert made["Cors"] == cors
    assert made["FunctionUrl"].endswith(f"/{name}:web/")
    aws.add_permission(
        FunctionName=name, Qualifier="web", StatementId="open", Action="lambda:InvokeFunctionUrl", Principal="*"
    )
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    told = httpx.options(made["FunctionUrl"], headers=asked)
    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == "https://shop.example"
    assert told.headers["access-control-allow-methods"] == "GET,POST"
    assert told.headers["access-control-max-age"] == "300"
    answer = httpx.get(made["FunctionUrl"], headers={"Origin": "https://shop.example"})
    assert answer.text == "x"
    assert answer.headers.get_list("access-control-allow-origin") == ["https://shop.example"]
    assert answer.headers["access-control-expose-headers"] == "x-total"
    foreign = httpx.options(made["FunctionUrl"], headers=asked | {"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in foreign.headers
    with refused("ResourceConflictException", 409):
        aws.delete_alias(FunctionName=name, Name="web")


def test_permissions_are_kept_and_shown(aws: Any, name: str) -> None:
    created(aws, name, ECHO)
    with refused("ResourceNotFoundException", 404):
        aws.get_policy(FunctionName=name)
    aws.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::my-bucket/*", SourceAccount="123456789012",
    )  # fmt: skip
    with refused("ResourceConflictException", 409):
        aws.add_permission(
            FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
        )
    found = aws.get_policy(FunctionName=name)
    policy = json.loads(found["Policy"])
    assert (policy["Version"], policy["Id"]) == ("2012-10-17", "default")
    assert policy["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}
    assert policy["Statement"][0]["Condition"] == {
        "StringEquals": {"AWS:SourceAccount": "123456789012"},
        "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::my-bucket/*"},
    }
    with refused("PreconditionFailedException", 412):
        aws.remove_permission(FunctionName=name, StatementId="s3", RevisionId="0" * 36)
    aws.add_permission(
        FunctionName=name, StatementId="account", Action="lambda:InvokeFunction", Principal="210987654321",
        RevisionId=found["RevisionId"],
    )  # fmt: skip
    principals = [each["Principal"] for each in json.loads(aws.get_policy(FunctionName=name)["Policy"])["Statement"]]
    assert principals[1] == {"AWS": "arn:aws:iam::210987654321:root"}
    aws.remove_permission(FunctionName=name, StatementId="s3")
    aws.remove_permission(FunctionName=name, StatementId="account")
    with refused("ResourceNotFoundException", 404):
        aws.remove_permission(FunctionName=name, StatementId="account")


# -- concurrency -----------------------------------------------------------------------------------------------------


def test_reserved_concurrency_bounds_the_calls_at_once(platform: Platform, aws: Any, name: str) -> None:
    created(aws, name, SLOW, Timeout=20)
    assert aws.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions") is None
    put = aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert put["ReservedConcurrentExecutions"] == 1
    answers: list[Any] = []
    running = threading.Thread(target=lambda: answers.append(call(aws, name, {"s": 12})))
    running.start()
    wait_until(lambda: platform.temperatures(name)["hot"], "the first call under way", 10)
    with refused("TooManyRequestsException", 429):
        aws.invoke(FunctionName=name)
    running.join()
    assert len(answers) == 1
    assert call(aws, name, {}) == {}
    assert aws.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 1}
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with refused("TooManyRequestsException", 429):
        aws.invoke(FunctionName=name)
    aws.delete_function_concurrency(FunctionName=name)
    assert call(aws, name, {}) == {}


def test_provisioned_concurrency_keeps_instances_warm(platform: Platform, aws: Any, name: str) -> None:
    created(aws, name, ECHO, Publish=True)
    with refused("InvalidParameterValueException", 400):
        aws.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
    with refused("ProvisionedConcurrencyConfigNotFoundException", 404):
        aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    put = aws.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=3)
    assert put["RequestedProvisionedConcurrentExecutions"] == 3
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    wait_until(
        lambda: aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")["Status"] == "READY",
        "three instances",
    )
    now = platform.temperatures(name)
    assert now["hot"] + now["warm"] + now["spare"] >= 3
    listed = aws.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(each["FunctionArn"].rsplit(":", 1)[1], each["Status"]) for each in listed] == [("1", "READY")]
    aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert aws.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


# -- asynchronous calls ----------------------------------------------------------------------------------------------


def test_asynchronous_calls_are_tried_and_told_of_as_their_config_says(platform: Platform, aws: Any, name: str) -> None:
    created(aws, name, "def lambda_handler(event, context):\n    print('try')\n    raise ValueError('never')\n")
    created(aws, f"{name}-keeper", KEEPER)
    with refused("ResourceNotFoundException", 404):
        aws.get_function_event_invoke_config(FunctionName=name)
    keeper = f"arn:aws:lambda:local:default:function:{name}-keeper"
    put = aws.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": keeper}}
    )
    assert put["MaximumRetryAttempts"] == 0
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": keeper}}
    assert put["FunctionArn"].endswith(f":{name}:$LATEST")
    aws.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"order": 7}')
    heard = wait_until(lambda: platform.cli("logs", f"{name}-keeper").out, "the destination heard of it")
    assert '"condition": "RetriesExhausted"' in heard
    assert '"approximateInvokeCount": 1' in heard
    changed = aws.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=120)
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 120)
    assert len(aws.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]) == 1
    for arn in ("arn:aws:sqs:eu-west-1:123456789012:queue", "arn:aws:sns:eu-west-1:123456789012:topic"):
        with refused("InvalidParameterValueException", 400) as error:
            aws.put_function_event_invoke_config(
                FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}}
            )
        assert arn in error.message
    aws.delete_function_event_invoke_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        aws.delete_function_event_invoke_config(FunctionName=name)
    aws.delete_function(FunctionName=f"{name}-keeper")


# -- tags, layers, account -------------------------------------------------------------------------------------------


def test_tags(aws: Any, name: str) -> None:
    arn = created(aws, name, ECHO, Tags={"team": "shop"})["FunctionArn"]
    assert aws.list_tags(Resource=arn)["Tags"] == {"team": "shop"}
    assert (
        aws.tag_resource(Resource=arn, Tags={"stage": "test", "team": "web"})["ResponseMetadata"]["HTTPStatusCode"]
        == 204
    )
    assert aws.get_function(FunctionName=name)["Tags"] == {"stage": "test", "team": "web"}
    aws.untag_resource(Resource=arn, TagKeys=["team", "absent"])
    assert aws.list_tags(Resource=arn)["Tags"] == {"stage": "test"}
    with refused("InvalidParameterValueException", 400):
        aws.tag_resource(Resource=arn, Tags={f"k{number}": "v" for number in range(60)})


def test_layers_lie_over_each_other_at_opt(aws: Any, name: str) -> None:
    first = aws.publish_layer_version(
        LayerName=f"{name}-base", Description="first", CompatibleRuntimes=["python3.11"], LicenseInfo="MIT",
        Content={"ZipFile": zip_of(**{"python/shared.py": "WHO = 'base'", "python/base_only.py": "X = 1",
                                      "bin/tool": "#!/bin/sh\necho tool", "data/file.txt": "from the base"})},
    )  # fmt: skip
    assert (first["Version"], first["Description"], first["LicenseInfo"]) == (1, "first", "MIT")
    assert first["LayerVersionArn"] == f"{first['LayerArn']}:1"
    second = aws.publish_layer_version(
        LayerName=f"{name}-top", Content={"ZipFile": zip_of(**{"python/shared.py": "WHO = 'top'"})}
    )
    code = (
        "import base_only, os, shared\n\n"
        "def lambda_handler(event, context):\n"
        "    return [shared.WHO, base_only.X, os.environ['PATH'].split(':')[0], open('/opt/data/file.txt').read()]\n"
    )
    made = created(aws, name, code, Layers=[first["LayerVersionArn"], second["LayerVersionArn"]])
    assert [each["Arn"] for each in made["Layers"]] == [first["LayerVersionArn"], second["LayerVersionArn"]]
    assert made["Layers"][0]["CodeSize"] == first["Content"]["CodeSize"]
    assert call(aws, name) == ["top", 1, "/opt/bin", "from the base"]
    assert [each["Version"] for each in aws.list_layer_versions(LayerName=f"{name}-base")["LayerVersions"]] == [1]
    latest = {each["LayerName"]: each["LatestMatchingVersion"]["Version"] for each in aws.list_layers()["Layers"]}
    assert latest[f"{name}-base"] == 1
    assert aws.get_layer_version_by_arn(Arn=second["LayerVersionArn"])["Version"] == 1
    content = httpx.get(aws.get_layer_version(LayerName=f"{name}-top", VersionNumber=1)["Content"]["Location"]).content
    assert content.startswith(b"PK")
    aws.delete_layer_version(LayerName=f"{name}-base", VersionNumber=1)
    with refused("ResourceNotFoundException", 404):
        aws.get_layer_version(LayerName=f"{name}-base", VersionNumber=1)
    aws.update_function_configuration(FunctionName=name, MemorySize=192)  # who has a deleted layer keeps it
    updated(aws, name)
    assert call(aws, name)[0] == "top"
    with refused("InvalidParameterValueException", 400) as error:
        create(aws, f"{name}2", code, Layers=[first["LayerVersionArn"]])
    assert error.message == f"Layer version {first['LayerVersionArn']} does not exist."
    again = aws.publish_layer_version(LayerName=f"{name}-base", Content={"ZipFile": zip_of(x="")})
    assert again["Version"] == 2


def test_permissions_of_layers_are_kept_and_shown(aws: Any, name: str) -> None:
    aws.publish_layer_version(LayerName=name, Content={"ZipFile": zip_of(x="")})
    with refused("ResourceNotFoundException", 404):
        aws.get_layer_version_policy(LayerName=name, VersionNumber=1)
    added = aws.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="all", Action="lambda:GetLayerVersion", Principal="*"
    )
    assert json.loads(added["Statement"])["Resource"] == f"arn:aws:lambda:local:default:layer:{name}:1"
    policy = json.loads(aws.get_layer_version_policy(LayerName=name, VersionNumber=1)["Policy"])
    assert [each["Sid"] for each in policy["Statement"]] == ["all"]
    aws.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="all")


def test_the_account_has_limits_and_uses(aws: Any, name: str) -> None:
    before = aws.get_account_settings()
    created(aws, name, ECHO)
    aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    after = aws.get_account_settings()
    assert after["AccountUsage"]["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    limit = after["AccountLimit"]
    assert limit["ConcurrentExecutions"] - limit["UnreservedConcurrentExecutions"] >= 7


def test_what_has_no_effect_here_is_kept_and_shown(aws: Any, name: str) -> None:
    created(
        aws, name, ECHO, TracingConfig={"Mode": "Active"}, SnapStart={"ApplyOn": "PublishedVersions"},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
    )  # fmt: skip
    found = aws.get_function_configuration(FunctionName=name)
    assert found["TracingConfig"] == {"Mode": "Active"}
    assert found["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert found["LoggingConfig"]["LogFormat"] == "JSON"
    assert aws.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    aws.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert aws.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert aws.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    aws.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert aws.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    assert "CodeSigningConfigArn" not in aws.get_function_code_signing_config(FunctionName=name)


# -- event source mappings -------------------------------------------------------------------------------------------


def test_event_source_mappings_are_kept_and_say_that_nothing_reads_them(aws: Any, name: str) -> None:
    created(aws, name, ECHO)
    queue = "arn:aws:sqs:eu-west-1:123456789012:orders"
    made = aws.create_event_source_mapping(EventSourceArn=queue, FunctionName=name, BatchSize=5, Tags={"a": "b"})
    assert (made["State"], made["BatchSize"], made["EventSourceArn"]) == ("Creating", 5, queue)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    with refused("ResourceConflictException", 409):
        aws.create_event_source_mapping(EventSourceArn=queue, FunctionName=name)
    found = aws.get_event_source_mapping(UUID=made["UUID"])
    assert found["State"] == "Disabled"
    assert "does not read from sqs sources" in found["StateTransitionReason"]
    assert found["FunctionArn"] == f"arn:aws:lambda:local:default:function:{name}"
    assert aws.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"a": "b"}
    changed = aws.update_event_source_mapping(UUID=made["UUID"], BatchSize=8, Enabled=False)
    assert (changed["State"], changed["BatchSize"]) == ("Updating", 8)
    listed = aws.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    assert [each["UUID"] for each in listed] == [made["UUID"]]
    assert aws.list_event_source_mappings(EventSourceArn=queue, FunctionName=name)["EventSourceMappings"] == listed
    stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
    with refused("InvalidParameterValueException", 400):
        aws.create_event_source_mapping(EventSourceArn=stream, FunctionName=name)
    second = aws.create_event_source_mapping(EventSourceArn=stream, FunctionName=name, StartingPosition="LATEST")
    assert (second["StartingPosition"], second["ParallelizationFactor"]) == ("LATEST", 1)
    for mapping_id in (made["UUID"], second["UUID"]):
        assert aws.delete_event_source_mapping(UUID=mapping_id)["State"] == "Deleting"
        with refused("ResourceNotFoundException", 404):
            aws.get_event_source_mapping(UUID=mapping_id)
