"""The Node.js front end: what a handler gets, what its answers mean, whose output is whose, how instances end.

Events and answers are held against the Python runtime's: what it makes of the same bytes.
"""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.runtimes import find_node
from isotherm_runtime import values
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.frames import Kind, split_frames
from isotherm_runtime.nodejs import node_argv
from isotherm_runtime.responses import BadResponse, Responses
from tests.conftest import require
from tests.contracts.sandbox.client import TIME_LIMIT_S, Answer, Client, Ended
from tests.runtime.conftest import Begin
from tests.runtime.local_instance import LocalInstance

ARN = "arn:aws:lambda:local:default:function:contract"
ECHO = "exports.handler = async (event) => event;"


@pytest.fixture(autouse=True)
def node() -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")


async def begin_node(begin: Begin, code: str | dict[str, str], **config: Any) -> Client:
    files = {"index.js": code} if isinstance(code, str) else code
    values: dict[str, Any] = {
        "runtime": "nodejs20",
        "handler": "index.handler",
        "function_name": "contract",
        "function_arn": ARN,
        "log_limit_bytes": 4096,
    }
    return await begin(files, **(values | config))


async def refused(tmp_path: Path, files: dict[str, str], handler: str = "index.handler") -> dict[str, Any]:
    """The head of the ERROR that comes in place of HELLO."""
    instance = LocalInstance(tmp_path, files, runtime="nodejs20", handler=handler)
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(TIME_LIMIT_S):
        while more := await loop.sock_recv(instance.stream, 1 << 16):
            data += more
        assert (await instance.exited).status == 1
    instance.stream.close()
    (frame,), _ = split_frames(data)
    assert (frame[0], frame[2]) == (Kind.ERROR, 0)
    head: dict[str, Any] = json.loads(frame[4])
    assert head["kind"] == "import"
    return head


# Events and context


async def test_an_event_comes_back_as_the_handler_returned_it(begin: Begin) -> None:
    client = await begin_node(begin, ECHO)
    for event in ({"a": [1, 2.5, None, "ä", {}]}, [], "text", 7, None, True):
        assert (await client.invoke(event)).value == event
    assert (await client.invoke(body=b"")).value == {}
    assert (await client.invoke(body=b"{broken")).error["error_type"] == "Runtime.UnmarshalError"


async def test_the_context_says_what_lambda_says(begin: Begin) -> None:
    code = "exports.handler = async (event, context) => ({ ...context, left: context.getRemainingTimeInMillis() });"
    client = await begin_node(begin, code, memory_mb=128, function_version="7")
    found = (await client.invoke({}, deadline_ms=5_000)).value
    assert 3_000 < found.pop("left") <= 5_000
    assert found.pop("logStreamName").split("/")[3].startswith("[7]")
    assert found == {
        "callbackWaitsForEmptyEventLoop": True,
        "awsRequestId": "request-1",
        "functionName": "contract",
        "functionVersion": "7",
        "invokedFunctionArn": ARN,
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/contract",
    }


async def test_the_client_context_comes_as_an_object_or_as_base64(begin: Begin) -> None:
    client = await begin_node(begin, "exports.handler = async (event, context) => context.clientContext ?? null;")
    context = {"custom": {"a": "1"}}
    for stream, sent in ((101, context), (102, base64.b64encode(json.dumps(context).encode()).decode())):
        client.send(Kind.REQUEST, stream, ["id", sent], b"{}", deadline_ms=5_000)
        assert (await client.answer(stream)).value == context
    assert (await client.invoke({})).value is None


async def test_the_environment_is_there_at_import_with_lambdas_own_variables(begin: Begin) -> None:
    code = """
const seen = { ...process.env };
exports.handler = async () => seen;
"""
    client = await begin_node(begin, code, env={"GREETING": "hello", "TZ": "Europe/Vienna"})
    found = (await client.invoke({})).value
    expected = {
        "GREETING": "hello",
        "TZ": "Europe/Vienna",
        "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs20.x",
        "_HANDLER": "index.handler",
    }
    assert {name: found[name] for name in expected} == expected
    assert not [name for name in found if name.startswith("PYTHON")]


REQUESTS: list[tuple[str, str, str, list[tuple[str, str]], bytes]] = [
    ("GET", "/", "", [], b""),
    ("POST", "/orders/7", "q=a%20b&q=c&flag&=x&%E4=%zz", [("X-Two", "1"), ("x-two", "2")], b""),
    ("GET", "/ä", "?a=1&constructor=2", [("Cookie", "a=1; b=2"), ("Cookie", "c=3")], b""),
    ("PUT", "/t", "a+b=c+d", [("Content-Type", "text/plain; charset=utf-8")], "text ä".encode()),
    ("PUT", "/t", "", [("Content-Type", "text/plain")], b"\xff\xfe"),
    ("PUT", "/t", "", [("Content-Type", "application/vnd.api+json")], b'{"a": 1}'),
    ("PUT", "/t", "", [("Content-Type", "image/png")], bytes(range(256))),
    ("POST", "/t", "", [("User-Agent", "curl"), ("constructor", "own")], b"no type"),
]


@pytest.mark.parametrize("request_", REQUESTS)
async def test_a_url_request_is_the_event_that_the_python_runtime_makes(
    begin: Begin, request_: tuple[str, str, str, list[tuple[str, str]], bytes]
) -> None:
    method, path, query, headers, body = request_
    client = await begin_node(begin, ECHO)
    found = (await client.http(method, path, query, headers, body)).value
    head = json.dumps(["request-1", 1_600_000_000_000])
    head += json.dumps([method, path, query, headers, "192.0.2.1", "hi.test"])
    config = RuntimeConfig(handler="x.y", function_name="contract", function_arn=ARN)
    _, expected = EventBuilder(config).build(head.encode(), body)
    assert found == expected
    assert list(found) == list(expected)


# Answers

RESULTS: list[Any] = [
    {"statusCode": 201, "headers": {"X-A": "b", "Content-Type": "text/plain"}, "cookies": ["a=1; Path=/"], "body": "ä"},
    {"statusCode": "404", "body": None},
    {"statusCode": 200, "headers": {"x-n": 5, "x-b": True}, "body": "", "isBase64Encoded": None},
    {"statusCode": 200, "body": "AAEC/w==", "isBase64Encoded": True},
    {"no status": 1},
    ["a", None],
    "text",
    None,
    {"statusCode": 199},
    {"statusCode": 600},
    {"statusCode": True},
    {"statusCode": 200.5},
    {"statusCode": 200, "body": {"a": 1}},
    {"statusCode": 200, "body": "AAEC/", "isBase64Encoded": True},
    {"statusCode": 200, "body": "x", "isBase64Encoded": "yes"},
    {"statusCode": 200, "headers": ["a"]},
    {"statusCode": 200, "headers": {"a b": "c"}},
    {"statusCode": 200, "headers": {"a": "b\nc"}},
    {"statusCode": 200, "headers": {"a": ["b"]}},
    {"statusCode": 200, "cookies": "a=1"},
    {"statusCode": 200, "cookies": [1]},
    {"statusCode": 200, "cookies": ["a=1\r\nb"]},
]


async def test_answers_mean_what_they_mean_to_the_python_runtime(begin: Begin) -> None:
    client = await begin_node(begin, "exports.handler = async (event) => JSON.parse(event.body);", concurrency=4)
    for result in RESULTS:
        found = await client.http("POST", headers=[("content-type", "text/plain")], body=json.dumps(result).encode())
        try:
            raw = Responses().pack(1, result, 1 << 20)
        except BadResponse as exc:
            assert (found.error["kind"], found.error["error_type"]) == ("response", "Runtime.MarshalError"), result
            named = str(exc).split(" ")[0].replace("'", '"')  # the field
            assert found.error["error_message"].split(" ")[0] == named
        else:
            ((kind, flags, _, _, head, body),), _ = split_frames(raw)
            assert found.http == Answer(kind, flags, head, body).http, result
            assert found.body == body, result


async def test_what_json_cannot_hold_is_said_so(begin: Begin) -> None:
    code = """
const ring = {}; ring.ring = ring;
exports.handler = async (event) => ({ ring, big: 10n, nothing: undefined, long: 'x'.repeat(2000) })[event];
"""
    client = await begin_node(begin, code, max_response_bytes=1000)
    assert "circular" in (await client.invoke("ring")).error["error_message"]
    assert "BigInt" in (await client.invoke("big")).error["error_message"]
    assert "limit is 1000" in (await client.invoke("long")).error["error_message"]
    assert (await client.invoke("nothing")).value is None


@pytest.mark.parametrize(
    "code",
    [
        "exports.handler = (event, context, callback) => { setTimeout(() => callback(null, event), 5); };",
        "exports.handler = (event, context, callback) => Promise.resolve(event);",
        "exports.handler = (event) => event;",
        "exports.handler = (event) => ({ then: (resolve) => resolve(event) });",
    ],
)
async def test_answers_come_by_callback_by_promise_and_by_return(begin: Begin, code: str) -> None:
    client = await begin_node(begin, code)
    assert (await client.invoke([1])).value == [1]


# Failures


async def test_what_is_thrown_has_lambdas_shape_and_the_users_frames_alone(begin: Begin) -> None:
    code = """
class OutOfStock extends Error { constructor(what) { super(`no ${what} left`); this.name = 'OutOfStock'; } }
function check(what) { throw new OutOfStock(what, { cause: 1 }); }
exports.handler = async (event) => { await null; check(event.what); };
"""
    client = await begin_node(begin, code)
    error = (await client.invoke({"what": "chair"})).error
    assert (error["kind"], error["error_type"], error["error_message"]) == ("handler", "OutOfStock", "no chair left")
    assert error["stack_trace"][0] == "OutOfStock: no chair left"
    assert "at check" in error["stack_trace"][1]
    assert "isotherm_runtime" not in json.dumps(error)
    assert "node:" not in json.dumps(error)
    (line,) = [line for line in client.logs if line.stream == 1]
    assert (line.level, line.text.split("\n")[0]) == ("ERROR", "OutOfStock: no chair left")


UNREADABLE = """
const error = Object.defineProperty(new Error(), 'stack', { get() { throw 1; } });
exports.handler = async () => { throw error; };
"""


@pytest.mark.parametrize(
    ("code", "error_type", "message"),
    [
        ("exports.handler = (e, c, done) => done(new TypeError('by callback'));", "TypeError", "by callback"),
        ("exports.handler = () => { throw 'a text'; };", "string", "a text"),
        ("exports.handler = async () => { throw { a: 1 }; };", "object", "{ a: 1 }"),
        ("exports.handler = async () => { throw null; };", "object", "null"),
        (UNREADABLE, "Error", "(not describable: number)"),
    ],
)
async def test_whatever_is_thrown_is_told(begin: Begin, code: str, error_type: str, message: str) -> None:
    client = await begin_node(begin, code)
    error = (await client.invoke({})).error
    assert (error["error_type"], error["error_message"]) == (error_type, message)
    assert (await client.invoke({})).kind == Kind.ERROR  # it goes on


REJECTED = "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise(() => {}); };"
THROWN = """
exports.handler = async () => {
  setTimeout(() => { throw new RangeError('lost'); });
  await new Promise(() => {});
};
"""


@pytest.mark.parametrize(
    ("code", "error_type"), [(REJECTED, "Runtime.UnhandledPromiseRejection"), (THROWN, "RangeError")]
)
async def test_what_nobody_catches_fails_the_call_and_ends_the_instance(
    begin: Begin, code: str, error_type: str
) -> None:
    client = await begin_node(begin, code)
    error = (await client.invoke({})).error
    assert (error["error_type"], error["error_message"]) == (error_type, "lost")
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 1
    assert any("lost" in line.text for line in client.logs)


async def test_a_crash_closes_the_stream_after_what_was_printed(begin: Begin) -> None:
    code = "exports.handler = () => { console.log('last'); process.stdout.write('words'); process.exit(3); };"
    client = await begin_node(begin, code)
    with pytest.raises(Ended):
        await client.invoke({})
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 3
    assert client.lines_of(1) == ["last", "words"]


# Modules

MODULES = {
    "CommonJS": {"index.js": "exports.handler = async () => 'here';"},
    "an ending that says so": {"index.cjs": "module.exports = { handler: async () => 'here' };"},
    "an ES module": {"index.mjs": "export const handler = async () => 'here';"},
    "type module": {"package.json": '{"type": "module"}', "index.js": "export const handler = async () => 'here';"},
    "top-level await": {"index.mjs": "const word = await Promise.resolve('here'); export const handler = () => word;"},
    "CommonJS that imports": {
        "index.js": "exports.handler = async () => (await import('./other.mjs')).default;",
        "other.mjs": "export default 'here';",
    },
    "ESM that imports CommonJS": {
        "index.mjs": "import other from './other.cjs'; export const handler = () => other.word;",
        "other.cjs": "exports.word = 'here';",
    },
    "dependencies beside the code": {
        "index.mjs": "import word from 'word'; export const handler = () => word;",
        "node_modules/word/package.json": '{"name": "word", "main": "main.js"}',
        "node_modules/word/main.js": "module.exports = 'here';",
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", MODULES)
async def test_handlers_of_every_kind_of_module_are_found(begin: Begin, kind: str) -> None:
    client = await begin_node(begin, MODULES[kind])
    assert (await client.invoke({})).value == "here"


async def test_a_handler_may_lie_in_a_folder_and_inside_an_export(begin: Begin) -> None:
    files = {"src/api/index.js": "exports.shop = { open: async () => 'here' };"}
    client = await begin_node(begin, files, handler="src/api/index.shop.open")
    assert (await client.invoke({})).value == "here"


@pytest.mark.parametrize(
    "code",
    [
        "import word from 'word'; export const handler = () => word;",
        "import m from 'node:module'; export const handler = () => m.createRequire(import.meta.url)('word');",
    ],
)
async def test_dependencies_are_found_where_there_is_no_tree_of_its_own(
    begin: Begin, tmp_path: Path, code: str
) -> None:
    module = tmp_path / "deps/node_modules/word"
    module.mkdir(parents=True)
    (module / "package.json").write_text('{"name": "word", "main": "main.js"}')
    (module / "main.js").write_text("module.exports = 'here';")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/index.mjs").write_text(code)
    client = await begin_node(begin, "", path=[str(tmp_path / "code"), str(tmp_path / "deps")])
    assert (await client.invoke({})).value == "here"


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "words"),
    [
        ({"index.js": ""}, "index.handler", "Runtime.HandlerNotFound", "'handler' missing on module 'index'"),
        ({"index.js": "exports.handler = 7"}, "index.handler", "Runtime.HandlerNotFound", "not a function"),
        ({"index.js": ""}, "other.handler", "Runtime.ImportModuleError", "none of other.js, other.mjs, other.cjs"),
        ({"index.js": "require('nothing-here')"}, "index.handler", "Runtime.ImportModuleError", "nothing-here"),
        ({"index.mjs": "import 'nothing-here'"}, "index.handler", "Runtime.ImportModuleError", "nothing-here"),
        ({"index.js": "let x = ;"}, "index.handler", "Runtime.UserCodeSyntaxError", "index.js:1"),
        ({"index.mjs": "let x = ;"}, "index.handler", "Runtime.UserCodeSyntaxError", "index.mjs:1"),
        ({"index.js": "JSON.parse('{')"}, "index.handler", "SyntaxError", "JSON"),
        ({"index.js": "function f() { throw new RangeError('no'); } f();"}, "index.handler", "RangeError", "no"),
        ({"index.js": "process.exit(4)"}, "index.handler", "Runtime.ExitError", "process.exit(4)"),
        ({"index.mjs": "await new Promise(() => {})"}, "index.handler", "Runtime.ExitError", "top level"),
        ({"index.js": ""}, "index", "Runtime.MalformedHandlerName", "FILE.FUNCTION"),
        ({"index.js": ""}, "../index.handler", "Runtime.MalformedHandlerName", "FILE.FUNCTION"),
    ],
)  # fmt: skip
async def test_an_import_that_fails_says_why(
    tmp_path: Path, files: dict[str, str], handler: str, error_type: str, words: str
) -> None:
    head = await refused(tmp_path, files, handler)
    assert (head["error_type"], words in head["error_message"]) == (error_type, True), head
    assert "isotherm_runtime" not in json.dumps(head)
    if error_type == "RangeError":
        assert any("at f " in line for line in head["stack_trace"])


# Output

TALKATIVE = """
console.log('at import');
exports.handler = async (n) => {
  console.log('log %d', n);
  process.stdout.write(`raw ${n}`);
  await new Promise((resolve) => setTimeout(resolve, 30));
  process.stdout.write(' ends\\n');
  console.error(`two\\nlines ${n}`);
  await new Promise((resolve) => setImmediate(() => { console.debug('late', n); resolve(); }));
  setTimeout(() => console.log('after'), 50);
  process.stderr.write(`no end ${n}`);
};
"""


async def test_output_belongs_to_the_call_that_wrote_it(begin: Begin) -> None:
    client = await begin_node(begin, TALKATIVE, concurrency=8)
    streams = {client.request(number): number for number in range(8)}
    await asyncio.gather(*(client.answer(stream) for stream in streams))
    for stream, n in streams.items():
        lines = [f"log {n}", f"raw {n} ends", f"two\nlines {n}", f"late {n}", f"no end {n}"]
        assert client.lines_of(stream) == lines
    levels = {line.text.split(" ")[0]: line.level for line in client.logs}
    assert (levels["log"], levels["raw"], levels["two\nlines"], levels["late"]) == ("INFO", None, "ERROR", "DEBUG")
    deadline = time.monotonic() + 5
    while len(client.lines_of(0)) < 9 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert client.lines_of(0) == ["at import", *["after"] * 8]


async def test_output_over_the_limit_is_cut_and_says_so_once(begin: Begin) -> None:
    code = "exports.handler = () => { for (let i = 0; i < 99; i++) console.log('x'.repeat(100_000)); return 'fine'; };"
    client = await begin_node(begin, code)
    assert (await client.invoke({})).value == "fine"
    assert sum(len(line.text) for line in client.logs if not line.truncated) <= 4096
    assert [line.truncated for line in client.logs].count(True) == 1
    assert client.logs[-1].truncated
    before = len(client.logs)
    assert (await client.invoke({})).value == "fine"  # the limit is for each call
    assert len(client.logs) > before


# Many at once, and the end

SLEEPY = "exports.handler = async (ms) => { await new Promise((resolve) => setTimeout(resolve, ms)); return ms; };"


async def test_calls_run_beside_each_other_and_a_ping_is_answered_meanwhile(begin: Begin) -> None:
    client = await begin_node(begin, SLEEPY, concurrency=16)
    began = time.monotonic()
    streams = [client.request(1500) for _ in range(15)]
    client.send(Kind.PING, 0)
    assert (await client.invoke(0)).value == 0
    assert client.pongs == 1
    assert client.answered == [16]
    await asyncio.gather(*(client.answer(stream) for stream in streams))
    assert time.monotonic() - began < 8.0  # one after the other: 22 s


async def test_serial_dispatch_runs_one_at_a_time_in_order(begin: Begin) -> None:
    code = """
let running = 0; let most = 0; const order = [];
exports.handler = async (event) => {
  most = Math.max(most, ++running); order.push(event);
  await new Promise(setImmediate);
  running--;
  return [most, order];
};
"""
    client = await begin_node(begin, code, concurrency=8, dispatch="serial")
    streams = [client.request(number) for number in range(8)]
    answers = [(await client.answer(stream)).value for stream in streams]
    assert answers[-1] == [1, list(range(8))]


async def test_a_call_that_waited_too_long_or_was_cancelled_is_not_begun(begin: Begin) -> None:
    client = await begin_node(begin, SLEEPY, concurrency=8, dispatch="serial")
    first, late, dropped = client.request(300), client.request(0, deadline_ms=50), client.request(0)
    client.send(Kind.CANCEL, dropped)
    assert (await client.answer(dropped)).error["kind"] == "cancelled"
    assert (await client.answer(late)).error["kind"] == "cancelled"
    assert (await client.answer(first)).value == 300


async def test_drain_finishes_running_calls_and_exits_with_0(begin: Begin) -> None:
    client = await begin_node(begin, "setInterval(() => {}, 1000);" + SLEEPY, concurrency=4)
    streams = [client.request(200) for _ in range(6)]
    client.send(Kind.DRAIN, 0)
    assert [(await client.answer(stream)).value for stream in streams] == [200] * 6
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0


async def test_a_body_of_several_megabytes_goes_both_ways(begin: Begin) -> None:
    client = await begin_node(begin, ECHO)
    text = "ä" * 2_000_000
    from isotherm_runtime.frames import pack_frame

    frame = pack_frame(Kind.REQUEST, 9, b'["big"]', values.encode(text), deadline_ms=10_000)
    await asyncio.get_running_loop().sock_sendall(client.instance.stream, frame)
    assert (await client.answer(9)).value == text


def test_the_heap_leaves_room_for_node_itself() -> None:
    for memory_mb, heap_mb in ((32, 16), (128, 88), (256, 216), (1024, 921)):
        assert f"--max-old-space-size={heap_mb}" in node_argv("node", memory_mb)
