"""Which events of calls are kept, and in which form."""

import json

import pytest

from isotherm.base.errors import HandlerFailed
from isotherm.invocations.recorder import MAX_EVENTS_BYTES
from isotherm.pool.call import Call
from isotherm.pool.events import recorded_event, wants_event
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import MAX_EVENT_BYTES, Outcome, RecordedEvent
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.frames import Flag
from tests.pool.bench import PoolBench

FAILING = "def handler(event, context):\n    return {'n': event['n']}\n"


@pytest.mark.parametrize(
    ("policy", "outcome", "wanted"),
    [
        ("none", "handler_error", False), ("none", "ok", False), ("errors", "ok", False), ("errors", "timeout", True),
        ("errors", "rejected", False), ("all", "ok", True), ("all", "rejected", False),
    ],
)  # fmt: skip
def test_the_function_says_whose_events_are_kept(policy: str, outcome: Outcome, wanted: bool) -> None:
    spec = RevisionSpec(
        id="r",
        workload_id="w",
        namespace="n",
        name="f",
        number=1,
        runtime="",
        handler="",
        package="",
        record_events=policy,
    )  # type: ignore[arg-type]  # one of its words
    assert wants_event(spec, outcome) == wanted


async def test_events_of_failed_calls_are_kept_with_their_records(bench: PoolBench) -> None:
    revision = bench.revision(FAILING, record_events="errors")
    assert await bench.call(revision, {"n": 1}).value() == {"n": 1}
    failed = bench.call(revision, {"m": 2})
    with pytest.raises(HandlerFailed):
        await failed.value()
    collected = bench.recorder.collect()
    assert [(each.id, json.loads(each.event)) for each in collected.events] == [(failed.call.id, {"m": 2})]
    assert failed.call.id in [each.id for each in collected.invocations]


async def test_all_means_a_record_and_an_event_of_each_call(bench: PoolBench) -> None:
    revision = bench.revision(FAILING, record_events="all")
    for number in range(20):
        await bench.call(revision, {"n": number}).value()
    collected = bench.recorder.collect()
    assert [json.loads(each.event)["n"] for each in collected.events] == list(range(20))
    assert {each.id for each in collected.events} == {each.id for each in collected.invocations}


async def test_a_urls_request_is_kept_as_the_event_that_the_handler_got(bench: PoolBench) -> None:
    spec = bench.spec(record_events="all", name="fn")
    head = (
        b'["id-1",1700000000000]["POST","/a","x=1",[["content-type","text/plain"],["cookie","a=b"]],"10.0.0.1","host"]'
    )
    call = Call("id-1", Flag.HTTP, head, b"hello", None, 0.0)
    kept = recorded_event(spec, call, 5)
    config = RuntimeConfig(handler="", function_name="fn", function_arn="arn:aws:lambda:local:default:function:fn")
    assert kept is not None
    assert json.loads(kept.event) == EventBuilder(config).build(head, b"hello")[1]


async def test_what_cannot_be_made_again_is_not_kept(bench: PoolBench) -> None:
    spec = bench.spec(record_events="all")
    for body in (b"{", bytes(MAX_EVENT_BYTES + 1)):
        assert recorded_event(spec, Call("i", 0, b'["i",null]', body, None, 0.0), 5) is None
    assert recorded_event(spec, Call("i", Flag.HTTP, b"no head", b"", None, 0.0), 5) is None


async def test_a_shipment_of_events_is_bounded(bench: PoolBench) -> None:
    size = MAX_EVENT_BYTES
    for number in range(2 * MAX_EVENTS_BYTES // size):
        bench.recorder.keep_event(RecordedEvent(id=str(number), namespace="n", name="f", at_ms=1, event=bytes(size)))
    collected = bench.recorder.collect()
    assert sum(len(each.event) for each in collected.events) == MAX_EVENTS_BYTES
    assert collected.dropped == {"events": MAX_EVENTS_BYTES // size}
