"""Heads that came before, on whichever connection."""

import gc

from isotherm.gateway import known
from isotherm.gateway.known import KnownHeads
from isotherm.gateway.request import Request
from tests.gateway.front import Front

HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"


def request(length: int = 3) -> Request:
    made = Request(b"POST", b"/a", [(b"Host", b"h"), (b"Content-Length", b"%d" % length)], 1.0)
    made.length = length
    return made


def test_a_head_is_known_from_its_second_time_on() -> None:
    heads = KnownHeads()
    heads.note(HEAD, "192.0.2.1", request())
    assert heads.take(HEAD + b"abc", "192.0.2.1", 2.0) is None
    heads.note(HEAD, "192.0.2.1", request())
    taken = heads.take(HEAD + b"abc", "192.0.2.1", 2.0)
    assert taken is not None
    assert (taken.method, taken.url, taken.body, taken.arrived_s) == (b"POST", b"/a", b"abc", 2.0)


def test_only_one_whole_request_of_the_same_client_is_taken() -> None:
    heads = KnownHeads()
    for _ in range(2):
        heads.note(HEAD, "192.0.2.1", request())
    for data in (HEAD, HEAD + b"ab", HEAD + b"abcd", HEAD + b"abc" + HEAD, b"\r\n" + HEAD + b"abc", b"", b"\r\n\r\n"):
        assert heads.take(data, "192.0.2.1", 2.0) is None
    assert heads.take(HEAD + b"abc", "192.0.2.2", 2.0) is None


def test_a_plan_is_kept_for_all_that_come_later() -> None:
    heads = KnownHeads()
    for _ in range(2):
        heads.note(HEAD, "", request())
    first = heads.take(HEAD + b"abc", "", 2.0)
    assert first is not None
    assert first.plan is None
    first.keep_plan("plan")
    second = heads.take(HEAD + b"def", "", 3.0)
    assert second is not None
    assert (second.plan, second.body, first.body) == ("plan", b"def", b"abc")


def test_heads_that_never_come_again_are_not_kept_and_the_memory_is_bounded() -> None:
    heads = KnownHeads()
    for number in range(3 * known.MAX_SEEN):
        heads.note(b"GET /%d HTTP/1.1\r\n\r\n" % number, "", request(0))
    assert len(heads) == 0
    for number in range(3 * known.MAX_HEADS):
        for _ in range(2):
            heads.note(b"GET /%d HTTP/1.1\r\n\r\n" % number, "", request(0))
    assert 0 < len(heads) <= known.MAX_HEADS


async def test_calls_of_many_functions_in_turn_on_two_connections_reach_each_its_own(front: Front) -> None:
    names = [f"echo{number}" for number in range(5)]
    for name in names:
        front.function(name, f"def handler(event, context):\n    return ['{name}', event['body']]\n")
    wires = [await front.wire(), await front.wire()]
    for turn in range(4):
        for wire in wires:
            for name in names:
                body = f"{name}-{turn}".encode()
                lines = [f"POST /{name}/ HTTP/1.1", "Host: h", "Authorization: Bearer iso_admin"]
                lines += ["Content-Type: text/plain", f"Content-Length: {len(body)}", "", ""]
                wire.send("\r\n".join(lines).encode() + body)
                assert (await wire.reply()).json() == [name, body.decode()]


async def test_a_request_behind_one_in_flight_is_remembered_as_itself(front: Front) -> None:
    front.function("slow", "import time\ndef handler(event, context):\n    time.sleep(0.1)\n    return 'slow'\n")
    front.function("quick", "def handler(event, context):\n    return 'quick'\n")
    slow, quick = (
        f"GET /{name} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n".encode()
        for name in ("slow", "quick")
    )
    for _ in range(3):
        wire = await front.wire()
        wire.send(slow)
        await front.bench.until(lambda: any(one.current for one in front.content.connections), "the first request")
        wire.send(quick)
        assert [(await wire.reply()).json() for _ in range(2)] == ["slow", "quick"]
        wire.send(quick)
        assert (await wire.reply()).json() == "quick"
        wire.close()
        await front.bench.until(lambda: not front.content.connections, "the end of the connection")
    other = await front.wire()
    for _ in range(2):
        other.send(quick)
        assert (await other.reply()).json() == "quick"


async def test_what_is_remembered_holds_no_body(front: Front) -> None:
    front.function("echo")
    wire = await front.wire()
    body = b"x" * 50_000
    for _ in range(4):
        wire.send(
            b"POST /echo HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        assert (await wire.reply()).status == 200
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, Request) and len(one.body) >= len(body)]
    assert kept == []


async def test_a_head_that_is_known_is_refused_once_its_key_is_gone(front: Front) -> None:
    front.function("echo")
    front.function("other")
    front.key("invoker", "default", "iso_gone")
    known_head = b"GET /echo HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_gone\r\n\r\n"
    between = b"GET /other HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer iso_admin\r\n\r\n"
    wire = await front.wire()
    for request in [known_head, between] * 3:
        wire.send(request)
        assert (await wire.reply()).status == 200
    assert len(front.content.known) == 2
    front.keys.remove("key_iso_gone")
    front.routes.renew()
    for request, status in [(known_head, 401), (between, 200)] * 2:
        wire.send(request)
        assert (await wire.reply()).status == status
