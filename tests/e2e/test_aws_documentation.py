"""What AWS's documentation has its readers do first, with boto3 and the `aws` command as they come: a function is made,
waited for, called with its log, changed, listed, deleted. The steps are those of AWS's pages; texts and code are ours.
"""

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import botocore.waiter
import pytest

from tests.e2e.aws import ROLE, client, command_line, zip_of
from tests.e2e.conftest import Platform, running_platform

pytestmark = pytest.mark.e2e

FIRST = """
import math

DO = {"square": lambda x: x * x, "root": math.sqrt, "increment": lambda x: x + 1}

def lambda_handler(event, context):
    return {"result": DO[event["action"]](event["number"])}
"""
SECOND = """
import logging
import os

log = logging.getLogger()
DO = {"plus": lambda x, y: x + y, "over": lambda x, y: x / y}

def lambda_handler(event, context):
    log.setLevel(os.environ.get("LOG_LEVEL", logging.WARNING))
    try:
        result = DO[event["action"]](event["x"], event["y"])
        log.info("calculated %s", result)
    except ZeroDivisionError:
        log.warning("nothing is divided by 0")
        result = None
    return {"result": result}
"""
NODE = "exports.handler = async (event) => { console.log('event', event); return {hello: event.name ?? null}; };\n"


@pytest.fixture(scope="module")
def old_names(can_isolate: None) -> Iterator[Platform]:
    """A platform that takes runtimes which AWS's older pages name."""
    with running_platform(
        environment={"ISOTHERM_LAMBDA_RUNTIMES": "python3.8=python3.11,nodejs22.x=nodejs20.x"}
    ) as running:
        yield running


def test_boto3s_first_scenario(old_names: Platform) -> None:
    """With a runtime that is not here, and a waiter of the script's own on `LastUpdateStatus`."""
    aws, name = client(old_names), "doc_calculator"
    with pytest.raises(aws.exceptions.ResourceNotFoundException):
        aws.get_function(FunctionName=name)
    made = aws.create_function(
        FunctionName=name,
        Runtime="python3.8",
        Role=ROLE,
        Handler=f"{name}.lambda_handler",
        Code={"ZipFile": zip_of(**{f"{name}.py": FIRST})},
        Publish=True,
    )
    aws.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    assert made["FunctionArn"].endswith(f":function:{name}")

    def result(event: dict[str, Any], **given: Any) -> tuple[Any, str]:
        answer = aws.invoke(FunctionName=name, Payload=json.dumps(event), **given)
        return json.load(answer["Payload"])["result"], base64.b64decode(answer.get("LogResult", "")).decode()

    assert result({"action": "increment", "number": 41})[0] == 42

    updated = botocore.waiter.create_waiter_with_client(
        "Updated", botocore.waiter.WaiterModel({"version": 2, "waiters": {"Updated": UPDATED}}), aws
    )
    aws.update_function_code(FunctionName=name, ZipFile=zip_of(**{f"{name}.py": SECOND}))
    updated.wait(FunctionName=name)
    aws.update_function_configuration(FunctionName=name, Environment={"Variables": {"LOG_LEVEL": "DEBUG"}})
    aws.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    value, log = result({"action": "over", "x": 84, "y": 2}, LogType="Tail")
    assert value == 42
    assert "calculated 42.0" in log
    assert log.startswith("START RequestId: ")
    assert "REPORT RequestId: " in log
    assert result({"action": "over", "x": 1, "y": 0})[0] is None

    pages = aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    found = {each["FunctionName"]: each["Runtime"] for page in pages for each in page["Functions"]}
    assert found[name] == "python3.8"  # as it was asked for
    aws.delete_function(FunctionName=name)


UPDATED = {
    "delay": 0.1,
    "operation": "GetFunction",
    "maxAttempts": 300,
    "acceptors": [
        {"state": state, "matcher": "path", "argument": "Configuration.LastUpdateStatus", "expected": expected}
        for expected, state in (("Successful", "success"), ("Failed", "failure"))
    ],
}


@pytest.fixture(scope="module")
def aws(old_names: Platform, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`aws lambda …` in a folder of its own, with nothing but the variables that AWS's clients read."""
    program, folder = command_line(), tmp_path_factory.mktemp("cli")
    ready = old_names.ready
    environment = old_names.environment | {
        "AWS_ENDPOINT_URL_LAMBDA": ready["url"],
        "AWS_DEFAULT_REGION": ready["region"],
        "AWS_ACCESS_KEY_ID": ready["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": ready["secret_access_key"],
        "AWS_PAGER": "",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    (folder / "function.zip").write_bytes(zip_of(**{"index.js": NODE}))
    (folder / "layer.zip").write_bytes(zip_of(**{"python/thing.py": "X = 1\n"}))
    (folder / "event.json").write_text('{"name": "from a file"}')

    def run(*argv: str, fails: str = "") -> str:
        ran = subprocess.run(
            [program, "lambda", *argv],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=folder,
        )
        assert (ran.returncode == 0) == (not fails), (argv, ran.stdout, ran.stderr)
        assert fails in ran.stderr, ran.stderr
        return ran.stdout + ((folder / "out.json").read_text() if argv[0] == "invoke" else "")

    return run


def function(aws: Callable[..., str], name: str, *more: str) -> None:
    aws(
        *("create-function", "--function-name", name, "--runtime", "nodejs22.x", "--role", ROLE),
        *("--handler", "index.handler", "--zip-file", "fileb://function.zip", *more),
    )


def raw() -> list[str]:
    """The second version of the command takes payloads in base64 unless it is told."""
    said = subprocess.run([command_line(), "--version"], capture_output=True, text=True, check=True, timeout=60)
    return [] if "aws-cli/1." in said.stdout + said.stderr else ["--cli-binary-format", "raw-in-base64-out"]


def test_a_script_that_waits_for_nothing(aws: Callable[..., str]) -> None:
    """Create, call at once, update and publish, call at once, delete: as many a script of others does."""
    function(aws, "hello-cli")
    log = aws("invoke", "--function-name", "hello-cli", "--log-type", "Tail", "--query", "StatusCode", "out.json")
    assert log.startswith("200")
    updated = aws(
        "update-function-code", "--zip-file", "fileb://function.zip", "--function-name", "hello-cli", "--publish"
    )
    assert json.loads(updated)["FunctionArn"].endswith(":hello-cli:1")
    assert '{"hello":null}' in aws("invoke", "--function-name", "hello-cli", "out.json").replace(" ", "")
    aws("delete-function", "--function-name", "hello-cli")
    aws("get-function", "--function-name", "hello-cli", fails="ResourceNotFoundException")


def test_the_commands_of_the_reference(aws: Callable[..., str]) -> None:
    """One after the other on one function, as the pages of the command's reference have them."""
    name = ("--function-name", "my-function")
    function(aws, "my-function")
    aws("wait", "function-active-v2", *name)
    text = aws("invoke", *name, *raw(), "--payload", '{"name": "Bob"}', "out.json")
    assert '"hello":"Bob"' in text.replace(" ", "")
    text = aws("invoke", *name, *raw(), "--payload", "file://event.json", "out.json")
    assert "from a file" in text
    log = aws("invoke", *name, "--log-type", "Tail", "--query", "LogResult", "--output", "text", "out.json")
    assert "END RequestId" in base64.b64decode(log.split()[0]).decode()
    assert '"StatusCode": 202' in aws("invoke", *name, "--invocation-type", "Event", "out.json")
    aws("update-function-configuration", *name, "--memory-size", "256")
    aws("wait", "function-updated-v2", *name)
    assert aws("publish-version", *name, "--query", "Version", "--output", "text").strip() == "1"
    assert (
        aws("get-function-configuration", "--function-name", "my-function:1", "--query", "MemorySize").strip() == "256"
    )
    aws("create-alias", *name, "--function-version", "1", "--name", "LIVE")
    aws("update-alias", *name, "--name", "LIVE", "--description", "what customers take")
    assert "what customers take" in aws("list-aliases", *name)
    aws("put-function-concurrency", *name, "--reserved-concurrent-executions", "10")
    assert aws("get-function-concurrency", *name, "--query", "ReservedConcurrentExecutions").strip() == "10"
    aws("delete-function-concurrency", *name)
    aws("put-function-event-invoke-config", *name, "--maximum-event-age-in-seconds", "3600")
    aws("delete-function-event-invoke-config", *name)
    aws(
        *("add-permission", *name, "--statement-id", "sns", "--principal", "sns.amazonaws.com"),
        *("--action", "lambda:InvokeFunction"),
    )
    policy = json.loads(json.loads(aws("get-policy", *name))["Policy"])
    assert policy["Statement"][0]["Principal"] == {"Service": "sns.amazonaws.com"}
    aws("remove-permission", *name, "--statement-id", "sns")
    arn = aws("get-function", *name, "--query", "Configuration.FunctionArn", "--output", "text").strip()
    aws("tag-resource", "--resource", arn, "--tags", "DEPARTMENT=Department A")
    assert json.loads(aws("list-tags", "--resource", arn)) == {"Tags": {"DEPARTMENT": "Department A"}}
    aws("untag-resource", "--resource", arn, "--tag-keys", "DEPARTMENT")
    aws("publish-layer-version", "--layer-name", "my-layer", "--zip-file", "fileb://layer.zip")
    assert aws("list-layers", "--query", "Layers[].LayerName", "--output", "text").strip() == "my-layer"
    aws("list-functions", "--max-items", "1", "--query", "Functions[0].FunctionName")
    aws("delete-alias", *name, "--name", "LIVE")
    aws("delete-function", "--function-name", "default:function:my-function")  # a part of an ARN


def test_pages_have_tokens(aws: Callable[..., str]) -> None:
    for each in ("page-a", "page-b"):
        function(aws, each)
    first = json.loads(aws("list-functions", "--max-items", "1"))
    token = first["NextToken"]
    rest = json.loads(aws("list-functions", "--starting-token", token))
    names = [each["FunctionName"] for each in first["Functions"] + rest["Functions"]]
    assert len(names) == len(set(names))
    assert {"page-a", "page-b"} <= set(names)
    for each in ("page-a", "page-b"):
        aws("delete-function", "--function-name", each)
