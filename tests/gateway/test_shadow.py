"""Shadow traffic: copies that the caller never notices, counted for their revision, and bounded."""

import asyncio

import pytest

from isotherm.gateway.shadow import MAX_COPIES
from isotherm.wire.desired import RevisionSpec, ShadowSpec
from tests.gateway.front import Front

ECHO = "def handler(event, context):\n    return {'id': context.aws_request_id, 'event': event}\n"
KEEPS = (
    "seen = []\n\ndef handler(event, context):\n    seen.append(1)\n    return [len(seen), context.aws_request_id]\n"
)


def shadowed(front: Front, code: str, share: float, **changes: object) -> tuple[RevisionSpec, RevisionSpec]:
    """`hello` with a live revision, and one that gets copies."""
    live = front.function("hello", ECHO)
    shadow = front.bench.spec(code, name="hello", number=2, workload_id=live.workload_id, **changes)
    front.revisions[shadow.id] = shadow
    front.route(
        live,
        versions=[(1, live.id), (2, shadow.id)],
        standby=[live.id, shadow.id],
        shadows=[ShadowSpec("live", shadow.id, share)],
    )
    return live, shadow


def count(front: Front, spec: RevisionSpec) -> int:
    return front.bench.recorder.stats("default", "hello", spec.id).so_far().count


@pytest.mark.parametrize(("share", "expected"), [(1.0, 20), (0.25, 5), (0.1, 2)])
async def test_a_share_of_the_calls_is_copied_and_counted_for_the_other_revision(
    front: Front, share: float, expected: int
) -> None:
    live, shadow = shadowed(front, ECHO, share)
    for number in range(20):
        assert (await front.invoke("hello", number)).json()["event"] == number
    await front.bench.until(lambda: count(front, shadow) >= expected, "the copies")
    assert (count(front, live), count(front, shadow)) == (20, expected)


async def test_a_copy_has_an_id_of_its_own_and_its_record_says_shadow(front: Front) -> None:
    _, shadow = shadowed(front, "def handler(event, context):\n    raise ValueError(context.aws_request_id)\n", 1.0)
    answer = await front.invoke("hello", {"a": 1})
    assert answer.status == 200
    await front.bench.until(lambda: count(front, shadow) == 1, "the copy")
    kept = next(each for each in front.bench.recorder.collect().invocations if each.revision_id == shadow.id)
    assert (kept.source, kept.outcome, kept.alias) == ("shadow", "handler_error", "live")
    assert kept.error_message is not None
    assert kept.id in kept.error_message
    assert kept.id != answer.json()["id"]


async def test_a_url_call_is_copied_with_its_whole_event(front: Front) -> None:
    _, shadow = shadowed(front, "def handler(event, context):\n    assert event['body'] == 'hi'\n", 1.0)
    assert (
        await front.get("/hello/x?y=1", method="POST", body=b"hi", headers={"Content-Type": "text/plain"})
    ).status == 200
    await front.bench.until(lambda: count(front, shadow) == 1, "the copy")
    assert front.bench.recorder.stats("default", "hello", shadow.id).so_far().outcomes == {}


async def test_calls_by_number_are_not_copied(front: Front) -> None:
    _, shadow = shadowed(front, ECHO, 1.0)
    assert (await front.invoke("hello", 1, query="?Qualifier=1")).status == 200
    await asyncio.sleep(0.05)
    assert count(front, shadow) == 0


async def test_a_revision_that_hangs_holds_a_bounded_number_of_copies_and_no_caller(front: Front) -> None:
    slow = "import time\n\ndef handler(event, context):\n    time.sleep(3)\n"
    _, shadow = shadowed(front, slow, 1.0, warm={"max_instances": 2})
    async with asyncio.timeout(10):
        for number in range(MAX_COPIES + 10):
            assert (await front.invoke("hello", number)).status == 200
    pool = front.bench.pool.revision(shadow)
    held = len(pool.queue) + sum(len(each.calls) for each in pool.connections.values())
    assert held <= MAX_COPIES


async def test_copies_take_nothing_of_the_callers_rate(front: Front) -> None:
    live, shadow = shadowed(front, ECHO, 1.0)
    front.route(live, rate_per_s=0.001, burst=3, shadows=[ShadowSpec("live", shadow.id, 1.0)])
    statuses = [(await front.invoke("hello", 1)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    await front.bench.until(lambda: count(front, shadow) == 3, "copies of what was let in alone")


async def test_a_shadow_that_is_not_known_here_yet_is_no_obstacle(front: Front) -> None:
    live, shadow = shadowed(front, ECHO, 1.0)
    del front.revisions[shadow.id]
    front.routes.renew()
    assert (await front.invoke("hello", 1)).status == 200
    front.revisions[shadow.id] = shadow
    front.routes.renew()
    assert (await front.invoke("hello", 1)).status == 200
    await front.bench.until(lambda: count(front, shadow) == 1, "the copy")
    assert count(front, live) == 2


async def test_a_copy_that_streams_runs_to_its_end_and_is_counted(front: Front) -> None:
    """More than a window: it would stand still if nobody took its pieces."""
    code = "def handler(event, context):\n    for _ in range(64):\n        yield b'x' * 16384\n"
    _, shadow = shadowed(front, code, 1.0)
    assert (await front.invoke("hello", 1)).status == 200
    await front.bench.until(lambda: count(front, shadow) == 1, "the copy")
    assert not front.bench.recorder.stats("default", "hello", shadow.id).so_far().outcomes
