"""The front end of `provided`: AWS's Runtime API as a bootstrap sees it, and what becomes of what it does."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from isotherm_runtime.frames import Flag, Kind, split_frames
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client, Ended
from tests.runtime.conftest import Begin
from tests.runtime.local_instance import LocalInstance
from tests.runtime.streamed import StreamHost, body_of

# A bootstrap in Python over bare HTTP. `handle(event, head)` is the test's; it returns (route, body, headers).
BOOTSTRAP = """#!/usr/bin/env python3
import http.client, json, os, sys, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None, headers={{}}):
    api.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.read(), answer.headers
def say(*words):
    print(*words, flush=True)
{code}
while True:
    _, event, head = ask("GET", "invocation/next")
    call = head["Lambda-Runtime-Aws-Request-Id"]
    found = handle(json.loads(event), head)
    if found is not None:
        ask("POST", f"invocation/{{call}}/{{found[0]}}", *found[1:])
"""
ECHO = 'def handle(event, head): return "response", json.dumps(event)'
ARN = "arn:aws:lambda:local:default:function:contract"


def bootstrap(code: str) -> dict[str, str]:
    return {"bootstrap": BOOTSTRAP.format(code=code)}


async def begin_bridge(begin: Begin, code: str, **config: Any) -> Client:
    values: dict[str, Any] = {"runtime": "provided", "handler": "my.handler", "function_arn": ARN}
    return await begin(bootstrap(code), **(values | config))


async def refused(folder: Path, files: dict[str, str]) -> dict[str, Any]:
    """The head of the ERROR that comes in place of HELLO."""
    instance = LocalInstance(folder, files, runtime="provided")
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(TIME_LIMIT_S):
        while more := await loop.sock_recv(instance.stream, 1 << 16):
            data += more
        await instance.exited
    instance.stream.close()
    frames, _ = split_frames(data)
    assert [(frame[0], frame[2]) for frame in frames] == [(Kind.ERROR, 0)]
    head: dict[str, Any] = json.loads(frames[0][4])
    assert head["kind"] == "import"
    return head


async def test_an_event_comes_back_as_the_bootstrap_answered_it(begin: Begin) -> None:
    client = await begin_bridge(begin, ECHO)
    for event in ({"a": [1, 2.5, None, "ä", {}]}, [], "text", 7, None, True):
        assert (await client.invoke(event)).value == event
    assert (await client.invoke(body=b"")).value == {}


async def test_the_headers_of_a_call_are_those_of_lambda(begin: Begin) -> None:
    code = "def handle(event, head): return 'response', json.dumps(dict(head) | {'now': time.time()})"
    client = await begin_bridge(begin, code)
    client.send(Kind.REQUEST, 7, ["0f-id", {"custom": {"ä": "1"}}], b"{}", deadline_ms=5_000)
    found = (await client.answer(7)).value
    assert found["Lambda-Runtime-Aws-Request-Id"] == "0f-id"
    assert found["Lambda-Runtime-Invoked-Function-Arn"] == ARN
    assert found["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert json.loads(found["Lambda-Runtime-Client-Context"]) == {"custom": {"ä": "1"}}
    left = int(found["Lambda-Runtime-Deadline-Ms"]) / 1000 - found["now"]
    assert 3 < left <= 5
    assert "Lambda-Runtime-Client-Context" not in (await client.invoke({})).value


async def test_the_environment_is_lambdas(begin: Begin) -> None:
    code = "def handle(event, head): return 'response', json.dumps(dict(os.environ) | {'cwd': os.getcwd()})"
    client = await begin_bridge(begin, code, env={"GREETING": "hello"}, memory_mb=128)
    found = (await client.invoke({})).value
    root = found["LAMBDA_TASK_ROOT"]
    assert (found["cwd"], found["LD_LIBRARY_PATH"]) == (root, f"{root}:{root}/lib")
    assert (found["_HANDLER"], found["GREETING"]) == ("my.handler", "hello")
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert found["AWS_LAMBDA_RUNTIME_API"].startswith("127.0.0.1:")


async def test_a_url_request_is_an_event_of_payload_format_2_and_its_answer_has_a_status(begin: Begin) -> None:
    code = """
def handle(event, head):
    body = [event["version"], event["rawPath"], event["requestContext"]["http"]["method"], event["body"]]
    return "response", json.dumps({"statusCode": 201, "headers": {"X-A": "b"}, "body": json.dumps(body)})
"""
    client = await begin_bridge(begin, code)
    answer = await client.http("PUT", "/x", headers=[("content-type", "text/plain")], body=b"hi")
    assert answer.http == (201, {"x-a": "b", "content-type": "application/json"}, [])
    assert json.loads(answer.body) == ["2.0", "/x", "PUT", "hi"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [("{broken", "not JSON"), ('{"statusCode": 9}', "statusCode is 9"), ("NaN", "not JSON")],
)
async def test_an_answer_that_breaks_the_rules_fails_the_call_alone(begin: Begin, answer: str, words: str) -> None:
    client = await begin_bridge(begin, f"def handle(event, head): return 'response', {answer!r}")
    error = (await client.http()).error
    assert (error["kind"], error["error_type"]) == ("response", "Runtime.MarshalError")
    assert words in error["error_message"]
    assert (await client.http()).kind == Kind.ERROR


async def test_an_answer_over_the_limit_is_refused_with_413(begin: Begin) -> None:
    code = """
def handle(event, head):
    call = head["Lambda-Runtime-Aws-Request-Id"]
    if event == "long":
        say(ask("POST", f"invocation/{call}/response", "x" * 2000)[0])
    else:
        return "response", "1"
"""
    client = await begin_bridge(begin, code, max_response_bytes=1000)
    error = (await client.invoke("long")).error
    assert (error["kind"], error["error_type"]) == ("response", "Function.ResponseSizeTooLarge")
    assert (await client.invoke("short")).value == 1
    assert "413" in [line.text for line in client.logs]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"errorType": "OutOf", "errorMessage": "chairs", "stackTrace": ["a", "b"]}', ("OutOf", "chairs", ["a", "b"])),
        ('{"errorMessage": "no chair"}', ("Named", "no chair", [])),
        ("no JSON", ("Named", "no JSON", [])),
        ('["list"]', ("Named", "['list']", [])),
    ],
)  # fmt: skip
async def test_an_error_has_what_the_bootstrap_says(
    begin: Begin, body: str, expected: tuple[str, str, list[str]]
) -> None:
    headers = {"Lambda-Runtime-Function-Error-Type": "Named"}
    client = await begin_bridge(begin, f"def handle(event, head): return 'error', {body!r}, {headers!r}")
    error = (await client.invoke({})).error
    assert error["kind"] == "handler"
    assert (error["error_type"], error["error_message"], error["stack_trace"]) == expected


async def test_what_names_no_open_call_is_refused(begin: Begin) -> None:
    code = """
def handle(event, head):
    call = head["Lambda-Runtime-Aws-Request-Id"]
    tried = [ask("POST", path, "1")[0] for path in ("invocation/other/response", "invocation/other/error", "other")]
    tried.append(ask("GET", f"invocation/{call}/response")[0])
    return "response", json.dumps(tried)
"""
    client = await begin_bridge(begin, code)
    assert (await client.invoke({})).value == [400, 400, 404, 404]


async def test_a_call_that_is_left_without_an_answer_fails(begin: Begin) -> None:
    code = "def handle(event, head): return None if event == 'forget' else ('response', '1')"
    client = await begin_bridge(begin, code)
    assert (await client.invoke("forget")).error["error_type"] == "Runtime.NoResponse"
    assert (await client.invoke("answer")).value == 1


async def test_output_belongs_to_the_call_that_it_was_printed_in(begin: Begin) -> None:
    code = """
say("starting")
def handle(event, head):
    say("out", event)
    os.write(2, "err ä".encode())
    return "response", "1"
"""
    client = await begin_bridge(begin, code, log_limit_bytes=1000)
    for number in (1, 2):
        await client.invoke(number)
        assert client.lines_of(number) == [f"out {number}", "err ä"]
    assert client.lines_of(0) == ["starting"]


async def test_output_over_the_limit_is_cut_and_says_so_once(begin: Begin) -> None:
    code = "def handle(event, head):\n    say('x' * 1_000_000)\n    return 'response', '1'"
    client = await begin_bridge(begin, code, log_limit_bytes=1000)
    await client.invoke({})
    assert sum(len(line.text) for line in client.logs if not line.truncated) <= 1000
    assert [line.truncated for line in client.logs].count(True) == 1


# How it begins and ends


async def test_it_is_ready_once_the_bootstrap_asks(begin: Begin) -> None:
    began = time.monotonic()
    await begin_bridge(begin, "time.sleep(0.4)\n" + ECHO)
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize(
    ("files", "error_type", "words"),
    [
        ({"other": ""}, "Runtime.InvalidEntrypoint", "no file bootstrap"),
        ({"bootstrap": "#!/no/such/program\n"}, "Runtime.InvalidEntrypoint", "first line"),
        ({"bootstrap": "no program"}, "Runtime.InvalidEntrypoint", "Exec format"),
        ({"bootstrap": "#!/bin/sh\nexit 3\n"}, "Runtime.ExitError", "exited with status 3"),
        ({"bootstrap": "#!/bin/sh\nkill -9 $$\n"}, "Runtime.ExitError", "ended by signal 9"),
    ],
)
async def test_a_bootstrap_that_does_not_begin_says_why(
    tmp_path: Path, files: dict[str, str], error_type: str, words: str
) -> None:
    head = await refused(tmp_path, files)
    assert head["error_type"] == error_type
    assert words in head["error_message"]


async def test_what_it_printed_before_its_end_is_told(tmp_path: Path) -> None:
    head = await refused(tmp_path, {"bootstrap": "#!/bin/sh\necho no configuration >&2\nexit 1\n"})
    assert head["stack_trace"] == ["no configuration"]


async def test_a_bootstrap_that_is_no_program_is_told_from_one_that_may_not_run(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").mkdir()
    assert "no file bootstrap" in (await refused(tmp_path, {}))["error_message"]


async def test_an_error_at_its_start_is_told(tmp_path: Path) -> None:
    code = """
ask("POST", "init/error", json.dumps({"errorType": "Config", "errorMessage": "no table"}))
time.sleep(60)
"""
    head = await refused(tmp_path, bootstrap(code))
    assert (head["error_type"], head["error_message"]) == ("Config", "no table")


async def test_a_bootstrap_that_ends_ends_the_instance_with_its_status(begin: Begin) -> None:
    client = await begin_bridge(begin, "def handle(event, head):\n    say('bye')\n    os._exit(3)")
    with pytest.raises(Ended):
        await client.invoke({})
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 3
    assert client.lines_of(1) == ["bye"]
    client = await begin_bridge(begin, "def handle(event, head): os.kill(os.getpid(), 9)")
    with pytest.raises(Ended):
        await client.invoke({})
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 137


async def test_drain_lets_a_running_call_end_and_then_the_bootstrap(begin: Begin) -> None:
    code = "def handle(event, head):\n    time.sleep(0.3)\n    return 'response', str(os.getpid())"
    client = await begin_bridge(begin, code)
    stream = client.request({})
    client.send(Kind.DRAIN, 0)
    pid = (await client.answer(stream)).value
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/status").exists() and "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_an_idle_instance_drains_at_once_and_answers_pings(begin: Begin) -> None:
    client = await begin_bridge(begin, ECHO)
    client.send(Kind.PING, 0)
    client.send(Kind.DRAIN, 0)
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0
    await client.ponged()
    assert client.pongs == 1


# Streamed answers

STREAMING = """
import base64
def handle(event, head):
    call = head["Lambda-Runtime-Aws-Request-Id"]
    api.putrequest("POST", f"/2018-06-01/runtime/invocation/{{call}}/response")
    api.putheader("Transfer-Encoding", "chunked")
    api.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    for name, value in {headers!r}.items():
        api.putheader(name, value)
    api.endheaders()
    def send(data):
        api.send(b"%x\\r\\n%s\\r\\n" % (len(data), data))
    {body}
"""
FINISH = 'api.send(b"0\\r\\n\\r\\n"); api.getresponse().read()'
INTEGRATION = {"Content-Type": "application/vnd.awslambda.http-integration-response"}


async def serving(folder: Path, body: str, headers: dict[str, str]) -> StreamHost:
    code = STREAMING.format(headers=headers, body=body)
    host = StreamHost(LocalInstance(folder, bootstrap(code), runtime="provided"))
    assert (await host.next()).kind == Kind.HELLO
    return host


async def end(host: StreamHost) -> None:
    host.instance.kill()
    await host.instance.exited
    host.instance.stream.close()


async def test_a_streamed_answer_goes_on_as_it_comes(tmp_path: Path) -> None:
    host = await serving(tmp_path, f"send(b'one '); time.sleep(0.2); send(b'two'); {FINISH}", {})
    host.invoke({})
    first = await host.next()
    assert (first.kind, first.flags, first.head, first.body) == (Kind.RESPONSE, Flag.MORE, b"", b"one ")
    frames = [first, *(await host.until_end())]
    assert body_of(frames) == b"one two"
    assert (frames[-1].kind, frames[-1].head) == (Kind.END, b"")
    host.http()
    frames = await host.until_end()
    assert frames[0].json == [200, [["content-type", "application/octet-stream"]], []]
    await end(host)


async def test_an_integration_response_begins_with_its_status_and_headers(tmp_path: Path) -> None:
    prelude = json.dumps({"statusCode": 418, "headers": {"X-A": "b"}, "cookies": ["c=1"]}).encode()
    body = f"send({prelude[:9]!r}); send({prelude[9:] + bytes(8) + b'tea'!r}); {FINISH}"
    host = await serving(tmp_path, body, INTEGRATION)
    host.http()
    frames = await host.until_end()
    assert frames[0].json == [418, [["X-A", "b"], ["content-type", "application/octet-stream"]], ["c=1"]]
    assert body_of(frames) == b"tea"
    host.invoke({})
    assert body_of(await host.until_end()) == prelude + bytes(8) + b"tea"  # as it is
    await end(host)


@pytest.mark.parametrize("prelude", [b"{broken" + bytes(8), b'{"statusCode": 9}' + bytes(8), b"[]" + bytes(8), b"{}"])
async def test_a_bad_beginning_fails_the_call(tmp_path: Path, prelude: bytes) -> None:
    host = await serving(tmp_path, f"send({prelude!r}); {FINISH}", INTEGRATION)
    for _ in range(2):
        host.http()
        frame = await host.next()
        assert (frame.kind, frame.json["error_type"]) == (Kind.ERROR, "Runtime.MarshalError")
    await end(host)


async def test_the_bootstrap_waits_while_the_host_grants_nothing(tmp_path: Path) -> None:
    body = f"[send(b'x' * 50_000) for _ in range(100)]; {FINISH}"
    host = await serving(tmp_path, body, {})
    stream = host.http()
    frames = await host.until_quiet(256 * 1024)
    assert len(body_of(frames)) == 256 * 1024
    host.grant(stream, 1000)
    assert len(body_of(await host.until_quiet(1000))) == 1000
    host.grant(stream, 10_000_000)
    frames += await host.until_end()
    assert (len(body_of(frames)) + 1000, frames[-1].kind) == (5_000_000, Kind.END)
    await end(host)


async def test_an_error_in_the_trailers_ends_the_answer_with_it(tmp_path: Path) -> None:
    body = """send(b'half')
    error = base64.b64encode(b'{"errorMessage": "no more", "errorType": "Late"}')
    name = b"Lambda-Runtime-Function-Error-"
    api.send(b"0\\r\\n%sType: Late\\r\\n%sBody: %s\\r\\n\\r\\n" % (name, name, error))
    api.getresponse().read()"""
    host = await serving(tmp_path, body, {})
    host.http()
    frames = await host.until_end()
    assert (frames[-1].kind, frames[-1].json["error_type"], frames[-1].json["error_message"]) == (
        Kind.END,
        "Late",
        "no more",
    )
    await end(host)


async def test_a_connection_that_is_closed_in_the_middle_truncates_the_answer(tmp_path: Path) -> None:
    host = await serving(tmp_path, "send(b'half'); api.close()", {})
    host.http()
    frames = await host.until_end()
    assert (frames[-1].kind, frames[-1].json["error_type"]) == (Kind.END, "Runtime.TruncatedResponse")
    await end(host)
