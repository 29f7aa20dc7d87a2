"""Calls of every shape, on every driver."""

import base64
import json

import pytest

from isotherm_runtime.frames import Kind
from tests.contracts.sandbox.conftest import Start

ECHO = """
import os
AT_IMPORT = os.environ.get("GREETING")
def handler(event, context):
    return event
"""


async def test_an_event_comes_back_as_the_handler_returned_it(start: Start) -> None:
    client = await start(ECHO)
    for event in ({"a": [1, 2.5, None, "ä", {}]}, [], "text", 7, None, True):
        assert (await client.invoke(event)).value == event


async def test_the_context_says_what_lambda_says(start: Start) -> None:
    client = await start("""
def handler(event, context):
    names = ("aws_request_id function_name function_version invoked_function_arn memory_limit_in_mb "
             "log_group_name").split()
    left = context.get_remaining_time_in_millis()
    return {name: getattr(context, name) for name in names} | {"left": left, "client": context.client_context}
""")
    found = (await client.invoke({}, deadline_ms=5_000)).value
    left = found.pop("left")
    assert 3_000 < left <= 5_000
    assert found == {
        "aws_request_id": "request-1",
        "function_name": "contract",
        "function_version": "7",
        "invoked_function_arn": "arn:aws:lambda:local:default:function:contract",
        "memory_limit_in_mb": "128",
        "log_group_name": "/aws/lambda/contract",
        "client": None,
    }


async def test_the_environment_is_there_at_import_with_lambdas_own_variables(start: Start) -> None:
    client = await start("""
import os
NAMES = ["GREETING", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
         "AWS_REGION", "TZ"]
SEEN = [os.environ.get(name) for name in NAMES]
def handler(event, context):
    return SEEN
""")
    assert (await client.invoke({})).value == ["hello", "contract", "7", "128", "local", ":UTC"]


async def test_a_url_request_is_an_event_of_payload_format_2(start: Start) -> None:
    client = await start(ECHO)
    answer = await client.http(
        "POST",
        "/orders/7",
        "q=a%20b&q=c&flag",
        [("Host", "hi.test"), ("X-Two", "1"), ("x-two", "2"), ("Cookie", "a=1; b=2"), ("Content-Type", "text/plain")],
        b"body text",
    )
    event = answer.value
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/orders/7", "q=a%20b&q=c&flag")
    assert event["queryStringParameters"] == {"q": "a b,c", "flag": ""}
    assert event["headers"]["x-two"] == "1,2"
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["time"] == "13/Sep/2020:12:26:40 +0000"
    assert (event["body"], event["isBase64Encoded"]) == ("body text", False)


async def test_binary_bodies_go_both_ways(start: Start) -> None:
    client = await start("""
def handler(event, context):
    return {"statusCode": 201, "headers": {"Content-Type": "image/png"}, "cookies": ["a=1; Path=/"],
            "body": event["body"], "isBase64Encoded": event["isBase64Encoded"]}
""")
    body = bytes(range(256))
    answer = await client.http("PUT", headers=[("Content-Type", "image/png")], body=body)
    assert answer.body == body
    assert answer.http == (201, {"content-type": "image/png"}, ["a=1; Path=/"])
    assert base64.b64encode(body).decode() not in answer.head.decode()


async def test_a_body_of_several_megabytes_arrives_whole(start: Start) -> None:
    client = await start("def handler(event, context):\n    return [len(event['text']), 'y' * 3_000_000]")
    client.instance.stream.setblocking(True)
    client.instance.stream.settimeout(10)
    stream = client._next + 1
    from isotherm_runtime.frames import pack_frame

    body = json.dumps({"text": "x" * 3_000_000}).encode()
    frame = pack_frame(Kind.REQUEST, stream, b'["big"]', body, deadline_ms=10_000)
    client.instance.stream.setblocking(False)
    await client._loop.sock_sendall(client.instance.stream, frame)
    length, text = (await client.answer(stream)).value
    assert (length, len(text)) == (3_000_000, 3_000_000)


async def test_an_async_handler_runs_on_a_loop(start: Start) -> None:
    client = await start("""
import asyncio
async def handler(event, context):
    await asyncio.sleep(0.01)
    return asyncio.get_running_loop().is_running()
""")
    assert (await client.invoke({})).value is True


@pytest.mark.parametrize("prefix", ["", "async "])
async def test_an_exception_is_told_with_the_users_frames_alone(start: Start, prefix: str) -> None:
    client = await start(f"""
def inner(value):
    raise KeyError(value)
{prefix}def handler(event, context):
    inner("missing")
""")
    error = (await client.invoke({})).error
    assert (error["kind"], error["error_type"], error["error_message"]) == ("handler", "KeyError", "'missing'")
    assert ["in handler" in error["stack_trace"][0], "in inner" in error["stack_trace"][1]] == [True, True]
    assert len(error["stack_trace"]) == 2
    assert "isotherm_runtime" not in json.dumps(error)
    assert (await client.invoke({})).kind == Kind.ERROR  # and the instance lives


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("import sys; sys.exit(3)", "exit", "sys.exit(3)"),
        ("raise KeyboardInterrupt", "handler", ""),
        ("return handler(event, context)", "handler", "recursion"),
        ("return {'when': {1, 2}}", "response", "$.when is of type set"),
        ("return [1, float('nan')]", "response", "$[1] is nan"),
        ("return {'rows': (n for n in [1])}", "response", "to stream it, return it by itself"),
    ],
)
async def test_what_a_handler_may_do_wrong_is_an_error_of_that_call(
    start: Start, statement: str, kind: str, words: str
) -> None:
    client = await start(f"def handler(event, context):\n    if event: return 'fine'\n    {statement}\n")
    error = (await client.invoke(0)).error
    assert error["kind"] == kind
    assert words in error["error_message"]
    assert (await client.invoke(1)).value == "fine"


async def test_an_event_that_is_not_json_is_an_error_of_the_request(start: Start) -> None:
    client = await start(ECHO)
    assert (await client.invoke(body=b"{nonsense")).error["kind"] == "request"
    assert (await client.invoke(1)).value == 1
