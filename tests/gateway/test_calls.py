"""Function URLs and Invoke: who may call what, what they see, and how failures look."""

import asyncio
import base64
import json
import time

import pytest

from isotherm.wire.desired import AliasSpec
from isotherm.wire.quota import Quota
from isotherm_runtime.frames import Flag, Kind, pack_frame
from tests.gateway.front import Front

FAILS = "def handler(event, context):\n    raise ValueError('no such thing')\n"
HTTP = """
def handler(event, context):
    return {"statusCode": 201, "headers": {"x-made-by": "f", "connection": "close", "content-length": "7"},
            "cookies": ["a=1", "b=2"], "body": event["rawPath"] + "?" + event["rawQueryString"]}
"""


async def test_a_url_gives_the_function_its_request(front: Front) -> None:
    front.function("echo")
    reply = await front.get(
        "/echo/deep/path?q=1", method="PUT", body=b'{"n": 1}', headers={"Content-Type": "application/json"}
    )
    event = reply.json()
    assert (reply.status, event["rawPath"], event["rawQueryString"]) == (200, "/deep/path", "q=1")
    assert event["requestContext"]["http"]["method"] == "PUT"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["body"] == '{"n": 1}'
    assert event["requestContext"]["requestId"] == reply.headers["x-amzn-requestid"]
    assert reply.headers["server-timing"].startswith("queue;dur=")


async def test_the_platforms_key_and_hop_by_hop_headers_stay_outside(front: Front) -> None:
    front.function("echo")
    sent = {"X-Forwarded-For": "6.6.6.6", "TE": "trailers", "X-Mine": "1"}
    headers = (await front.get("/echo", headers=sent)).json()["headers"]
    assert "authorization" not in headers
    assert "te" not in headers
    assert headers["x-mine"] == "1"
    assert headers["x-forwarded-for"] == "127.0.0.1"


async def test_a_functions_status_headers_and_cookies_go_out_but_not_what_is_ours(front: Front) -> None:
    front.function("http", HTTP)
    reply = await front.get("/http/a?b")
    assert (reply.status, reply.body) == (201, b"/a?b")
    assert reply.headers["x-made-by"] == "f"
    assert reply.headers["set-cookie"] == "a=1\nb=2"
    assert reply.headers["content-length"] == "4"


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": 200, "headers": {"bad name": "x"}},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: stolen=1"}},
        {"statusCode": 200, "cookies": ["a=1\r\nx: y"]},
    ],
)
async def test_an_answer_that_could_break_the_response_is_refused(front: Front, answer: object) -> None:
    front.function("bad", f"def handler(event, context):\n    return {answer!r}\n")
    reply = await front.get("/bad")
    assert (reply.status, reply.json()["code"]) == (502, "invalid_response")
    assert "stolen" not in str(reply.headers)


async def test_head_has_no_body_and_says_its_length(front: Front) -> None:
    front.function("http", HTTP)
    reply = await front.get("/http/ab", method="HEAD")
    assert (reply.status, reply.headers["content-length"], reply.body) == (201, "4", b"")


async def test_without_a_key_there_is_no_call(front: Front) -> None:
    front.function("echo")
    for token in (None, "iso_wrong", "x" * 600):
        reply = await front.get("/echo", token=token)
        assert (reply.status, reply.json()["code"], reply.headers["www-authenticate"]) == (
            401,
            "unauthenticated",
            "Bearer",
        )
    assert (await front.get("/echo", token=None, headers={"Authorization": "Basic abc"})).status == 401


async def test_a_public_function_needs_none_and_its_callers_see_no_trace(front: Front) -> None:
    front.function("open", FAILS, route={"public": True})
    reply = await front.get("/open", token=None)
    assert (reply.status, reply.json()["data"]["error_type"]) == (502, "ValueError")
    assert "stack_trace" not in reply.json()["data"]
    own = await front.get("/open", token=None, headers={"Authorization": "Basic dTpw"})
    assert own.status == 502
    assert "app.py" in str((await front.get("/open")).json()["data"]["stack_trace"])


async def test_roles_hold_and_a_foreign_namespace_looks_empty(front: Front) -> None:
    front.function("echo")
    front.key("invoker", "default", "iso_invoker")
    front.key("viewer", "default", "iso_viewer")
    front.key("admin", "other", "iso_foreign", home="other")
    assert (await front.get("/echo", token="iso_invoker")).status == 200
    assert (await front.get("/echo", token="iso_viewer")).status == 403
    foreign = await front.get("/echo", token="iso_foreign")
    missing = await front.get("/nothing", token="iso_foreign")
    assert (foreign.status, missing.status) == (404, 404)
    assert foreign.json()["detail"].replace("echo", "nothing") == missing.json()["detail"]
    assert (await front.invoke("default/echo", token="iso_foreign")).status == 404
    assert (await front.invoke("echo", token="iso_foreign")).status == 404


async def test_a_removed_or_expired_key_stops_at_once_also_on_an_open_connection(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.function("echo")
    front.key("invoker", "default", "iso_gone")
    wire = await front.wire()
    request = b"GET /echo HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_gone\r\n\r\n"
    wire.send(request)
    assert (await wire.reply()).status == 200
    front.keys.remove("key_iso_gone")
    front.routes.renew()
    wire.send(request)
    assert (await wire.reply()).status == 401
    front.key("invoker", "default", "iso_short", expires=time.time_ns() // 1_000_000 + 60_000)
    wire.send(request.replace(b"iso_gone", b"iso_short"))
    assert (await wire.reply()).status == 200
    monkeypatch.setattr("isotherm.gateway.ports.time_ns", lambda: time.time_ns() + 60_000_000_000)
    front.keys._time_ms = lambda: time.time_ns() // 1_000_000 + 60_000
    wire.send(request.replace(b"iso_gone", b"iso_short"))
    assert (await wire.reply()).status == 401


async def test_namespaces_aliases_and_numbers_are_part_of_the_url(front: Front) -> None:
    one = front.function("f", "def handler(event, context):\n    return 1\n", namespace="team")
    two = front.bench.spec("def handler(event, context):\n    return 2\n", name="f", namespace="team", number=2)
    front.revisions[two.id] = two
    front.route(
        one,
        aliases=[AliasSpec("live", [(one.id, 1.0)]), AliasSpec("next", [(two.id, 1.0)])],
        versions=[(1, one.id), (2, two.id)],
    )
    found = [(await front.get(path)).body for path in ("/@team/f", "/@team/f:next/x", "/@team/f:2", "/@team/f:1")]
    assert found == [b"1", b"2", b"2", b"1"]
    for path in ("/f", "/@team/f:9", "/@team/f:other", "/", "/@team", "/UPPER", "/..%2f"):
        assert (await front.get(path)).status == 404


async def test_weights_hold_over_few_calls(front: Front) -> None:
    one = front.function("w", "def handler(event, context):\n    return 1\n")
    two = front.bench.spec("def handler(event, context):\n    return 2\n", name="w", number=2)
    front.revisions[two.id] = two
    front.route(one, aliases=[AliasSpec("live", [(one.id, 0.9), (two.id, 0.1)])])
    replies = [(await front.get("/w")).body for _ in range(50)]
    assert 3 <= replies.count(b"2") <= 7


async def test_a_new_live_revision_takes_over_at_once_on_open_connections(front: Front) -> None:
    one = front.function("u", "def handler(event, context):\n    return 1\n")
    wire = await front.wire()
    request = b"GET /u HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n"
    wire.send(request)
    assert (await wire.reply()).body == b"1"
    two = front.bench.spec("def handler(event, context):\n    return 2\n", name="u", number=2)
    front.revisions[two.id] = two
    front.route(two)
    wire.send(request)
    assert (await wire.reply()).body == b"2"
    assert one.id != two.id


async def test_rates_are_per_route(front: Front) -> None:
    front.function("slow", route={"rate_per_s": 1.0, "burst": 2})
    statuses = [(await front.get("/slow")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    reply = await front.get("/slow")
    assert reply.headers["retry-after"] == "1"
    assert reply.json()["code"] == "too_many_requests"


async def test_a_rate_of_a_namespace_is_shared_by_its_functions_and_by_both_ports(front: Front) -> None:
    front.bench.pool.tenants.put("team", Quota(rate_per_s=0.5, burst=3))
    for name in ("a", "b"):
        front.function(name, namespace="team")
    front.function("neighbour")
    statuses = [(await front.get(f"/@team/{name}")).status for name in "abab"]
    assert statuses == [200, 200, 200, 429]
    reply = await front.invoke("team%2Fa")
    assert (reply.status, reply.headers["retry-after"]) == (429, "2")
    assert reply.json()["data"] == {"quota": "rate_per_s", "limit": 0.5, "namespace": "team"}
    assert "team/a may not be called now: the namespace team has a quota of 0.5 calls a second" in str(reply.json())
    assert (await front.get("/neighbour")).status == 200


async def test_a_changed_rate_counts_at_once_also_on_an_open_connection(front: Front) -> None:
    front.function("f", namespace="team")
    wire = await front.wire()
    request = b"GET /@team/f HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n"

    async def status() -> int:
        wire.send(request)
        return (await wire.reply()).status

    assert [await status() for _ in range(3)] == [200] * 3
    front.bench.pool.tenants.put("team", Quota(rate_per_s=0.1, burst=1))
    front.routes.quota_changed("team")
    assert [await status() for _ in range(3)] == [200, 429, 429]
    front.bench.pool.tenants.remove("team")
    front.routes.quota_changed("team")
    assert [await status() for _ in range(3)] == [200] * 3


async def test_a_call_that_the_namespace_refuses_takes_nothing_from_the_rate_of_its_function(front: Front) -> None:
    front.bench.pool.tenants.put("team", Quota(rate_per_s=0.001, burst=1))
    front.function("f", namespace="team", route={"rate_per_s": 0.001, "burst": 2})
    assert [(await front.get("/@team/f")).status for _ in range(5)] == [200, 429, 429, 429, 429]
    front.bench.pool.tenants.put("team", Quota())
    limiter = front.routes.find("team", "f")
    assert limiter is not None
    assert limiter.limiter is not None
    assert limiter.limiter._own is not None
    assert limiter.limiter._own._tokens >= 1.0


def test_without_any_rate_a_call_passes_no_limiter(front: Front) -> None:
    front.function("f")
    route = front.routes.find("default", "f")
    assert route is not None
    assert route.limiter is None


async def test_invoke_speaks_lambda(front: Front) -> None:
    front.function("echo")
    for name in (
        "echo",
        "default/echo",
        "echo:live",
        "echo:1",
        "echo:$LATEST",
        "arn:aws:lambda:local:default:function:echo",
    ):
        reply = await front.invoke(name, {"n": [1, 2]})
        assert (reply.status, reply.json()) == (200, {"n": [1, 2]})
        assert reply.headers["x-amz-executed-version"] == "1"
    assert (await front.invoke("echo", 1, query="?Qualifier=1")).json() == 1
    assert (await front.invoke("echo%3A1", 1)).json() == 1
    assert (await front.invoke("echo", 1, query="?Qualifier=2")).status == 404
    assert (await front.invoke("echo:1", 1, query="?Qualifier=2")).status == 404
    assert (await front.invoke("none", 1)).status == 404
    assert (await front.get("/2015-03-31/functions/echo/invocations", port=front.api)).status == 404


async def test_invoke_types_logs_and_client_context(front: Front) -> None:
    code = "def handler(event, context):\n    print('hello log')\n    print('and more')\n"
    code += "    return context.client_context.custom['who']\n"
    front.function("logs", code)
    given = base64.b64encode(json.dumps({"custom": {"who": "me"}}).encode()).decode()
    headers = {"X-Amz-Log-Type": "Tail", "X-Amz-Client-Context": given}
    reply = await front.invoke("logs", headers=headers)
    tail = base64.b64decode(reply.headers["x-amz-log-result"]).decode()
    assert reply.json() == "me"
    assert "\nhello log\nand more\nEND" in tail
    assert tail.startswith("START RequestId: " + reply.headers["x-amzn-requestid"])
    assert "\nREPORT RequestId: " in tail
    deep, lone = ("[" * 1300 + "]" * 1300).encode(), b'"\\ud800"'
    for bad in ("!", base64.b64encode(deep).decode(), base64.b64encode(lone).decode()):
        assert (await front.invoke("logs", headers={"X-Amz-Client-Context": bad})).status == 400
    dry = await front.invoke("logs", headers={"X-Amz-Invocation-Type": "DryRun"})
    assert (dry.status, "content-length" in dry.headers) == (204, False)
    other = await front.invoke("logs", headers={"X-Amz-Invocation-Type": "Later"})
    assert (other.status, "RequestResponse, Event or DryRun" in other.json()["detail"]) == (400, True)


async def test_a_call_that_failed_says_where_its_time_went(front: Front) -> None:
    front.function("fails", FAILS)
    front.function("slow", "import time\ndef handler(event, context):\n    time.sleep(1)\n", timeout_s=0.2)
    for reply in (await front.get("/fails"), await front.invoke("fails"), await front.get("/slow")):
        assert reply.headers["server-timing"].startswith("queue;dur=")
    slow = await front.invoke("slow")
    assert (slow.status, float(slow.headers["server-timing"].rpartition("=")[2]) >= 200) == (504, True)


async def test_an_instance_sets_no_status_and_headers_of_an_invoke(front: Front) -> None:
    front.function("forger", "import time\ndef handler(event, context):\n    time.sleep(2)\n")
    calling = asyncio.create_task(front.invoke("forger"))
    await front.bench.until(lambda: any(r.connections for r in front.bench.pool.revisions.values()), "the start")
    revision = next(iter(front.bench.pool.revisions.values()))
    await front.bench.until(lambda: any(c.calls for c in revision.connections.values()), "the call")
    head = b'[307,[["location","https://elsewhere.test"]],["a=b"]]'
    front.bench.driver.instances[0]._end.send(pack_frame(Kind.RESPONSE, 1, head, b"", flags=Flag.HTTP))
    reply = await calling
    assert reply.headers["x-amz-function-error"] == "Unhandled"
    assert (reply.status, "location" in reply.headers, "set-cookie" in reply.headers) == (200, False, False)


@pytest.mark.parametrize("given", ["Bearer  iso_admin", "bearer \tiso_admin", "BEARER iso_admin"])
@pytest.mark.parametrize("public", [False, True])
async def test_the_platforms_key_stays_outside_however_it_is_spelled(front: Front, given: str, public: bool) -> None:
    front.function("echo", route={"public": public})
    reply = await front.get("/echo", token=None, headers={"Authorization": given})
    assert reply.status == 200
    assert b"iso_admin" not in reply.body


async def test_a_handlers_error_on_invoke_is_lambdas(front: Front) -> None:
    front.function("fails", FAILS)
    reply = await front.invoke("fails")
    assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert reply.json()["errorType"] == "ValueError"
    assert reply.json()["errorMessage"] == "no such thing"
    assert reply.json()["stackTrace"]


async def test_an_event_that_is_not_json_is_the_callers_fault(front: Front) -> None:
    front.function("echo")
    reply = await front.get("/2015-03-31/functions/echo/invocations", method="POST", body=b"{", port=front.api)
    assert (reply.status, reply.json()["code"]) == (400, "invalid")


async def test_time_limits_and_crashes_have_their_own_answers(front: Front) -> None:
    front.function("slow", "import time\ndef handler(event, context):\n    time.sleep(3)\n", timeout_s=0.1)
    front.function("dies", "import os\ndef handler(event, context):\n    os._exit(7)\n")
    slow = await front.get("/slow")
    assert (slow.status, slow.json()["code"]) == (504, "timed_out")
    dies = await front.invoke("dies")
    assert (dies.status, dies.json()["data"]) == (502, {"exit_status": 7})


async def test_a_client_that_leaves_frees_the_slot(front: Front) -> None:
    code = "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(30)\n"
    spec = front.function("long", code, concurrency=2)
    wire = await front.wire()
    wire.send(b"GET /long HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n")
    revision = front.bench.pool.revision(spec)
    await front.bench.until(lambda: any(each.calls for each in revision.connections.values()), "the call")
    await asyncio.sleep(0.05)
    wire.close()
    await front.bench.until(lambda: not any(each.calls for each in revision.connections.values()), "the cancellation")


async def test_operations(front: Front) -> None:
    assert (await front.get("/healthz", port=front.api, token=None)).body == b"ok\n"
    assert (await front.get("/readyz", port=front.api, token=None)).status == 200
    front.reason = "not yet"
    assert (await front.get("/readyz", port=front.api, token=None)).status == 503
    assert (await front.get("/metrics", port=front.api)).body == b"isotherm_test 1\n"
    assert (await front.get("/metrics", port=front.api, token=None)).status == 401
    front.key("viewer", "default", "iso_viewer")
    assert (await front.get("/metrics", port=front.api, token="iso_viewer")).status == 403
