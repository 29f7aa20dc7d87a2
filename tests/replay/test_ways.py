"""Which way each call goes, and what counts as an answer on it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isotherm.replay.client import Answer
from isotherm.replay.model import Mix, Trace, Way
from isotherm.replay.policy import choose_ways, plan_arrivals, trace_digest
from isotherm.replay.ways import PIECES, is_crash, is_good, request, request_head, what_was_said
from isotherm.wire.eventstream import encode_event
from tests.replay.test_arrivals import SCALE, make_trace

TRACE = make_trace(2, [(400, 300), (50, 0), (0, 0)])
PLAN = plan_arrivals(TRACE, SCALE, 1)
WHOLE = b'{"slept_ms": 1.0, "held_mb": 1.0}'
shares = st.floats(0, 1).flatmap(lambda a: st.tuples(st.just(a), st.floats(0, 1 - a)))


def answer(status: int, body: bytes) -> Answer:
    made = Answer(0, 0.0)
    made.status, made.body = status, body
    return made


@given(shares, st.integers(0, 2**32))
def test_shares_hold_and_the_seed_decides(mix: tuple[float, float], seed: int) -> None:
    ways = choose_ways(TRACE, PLAN, Mix(*mix), seed)
    assert np.array_equal(ways, choose_ways(TRACE, PLAN, Mix(*mix), seed))
    for way, share in ((Way.EVENT, mix[0]), (Way.STREAM, mix[1])):
        # Six standard deviations of 750 coins.
        assert abs((ways == way).sum() - share * len(PLAN)) <= 6 * np.sqrt(len(PLAN) / 4)


def test_none_and_all_are_none_and_all() -> None:
    assert set(choose_ways(TRACE, PLAN, Mix(), 1)) == {Way.INVOKE}
    assert set(choose_ways(TRACE, PLAN, Mix(asynchronous=1.0), 1)) == {Way.EVENT}
    assert set(choose_ways(TRACE, PLAN, Mix(streamed=1.0), 1)) == {Way.STREAM}


def test_a_larger_share_of_events_takes_in_those_of_a_smaller_one() -> None:
    few, many = (choose_ways(TRACE, PLAN, Mix(asynchronous=share), 1) == Way.EVENT for share in (0.2, 0.4))
    assert np.all(many[few])
    assert few.sum() < many.sum()


def test_a_row_goes_the_same_ways_whatever_the_others_do() -> None:
    alone = Trace("made", 480, 2, TRACE.rows[1:2])
    single = plan_arrivals(alone, SCALE, 1)
    mine = choose_ways(TRACE, PLAN, Mix(0.3, 0.3), 1)[PLAN.row == 1]
    assert np.array_equal(mine, choose_ways(alone, single, Mix(0.3, 0.3), 1))


def test_a_digest_tells_traces_apart() -> None:
    same, other = make_trace(2, [(400, 300), (50, 0), (0, 0)]), make_trace(2, [(400, 300), (51, 0), (0, 0)])
    assert trace_digest(TRACE) == trace_digest(same) != trace_digest(other)


def test_every_request_says_the_length_of_its_body() -> None:
    for way in Way:
        head, _, body = request(request_head(way, "here:1", "iso_key", "echo"), way, 0.25, 0.999999).partition(
            b"\r\n\r\n"
        )
        assert b"Content-Length: %d" % len(body) in head
        assert (b"X-Amz-Invocation-Type: Event" in head) == (way is Way.EVENT)
        assert (b'"pieces":%d' % PIECES in body) == (way is Way.STREAM)


def test_a_good_answer_is_the_stand_ins_own() -> None:
    assert is_good(Way.INVOKE, answer(200, WHOLE))
    assert not is_good(Way.INVOKE, answer(200, b'{"errorType": "KeyError"}'))
    assert not is_good(Way.INVOKE, answer(502, WHOLE))
    assert is_good(Way.EVENT, answer(202, b""))
    assert not is_good(Way.EVENT, answer(200, WHOLE))


def test_a_stream_is_good_once_it_is_whole() -> None:
    pieces = encode_event("PayloadChunk", "application/octet-stream", WHOLE)
    ended = encode_event("InvokeComplete", "application/json", b"{}")
    details = b'{"ErrorCode": "Unhandled", "ErrorDetails": "{\\"errorType\\": \\"instance_crashed\\"}"}'
    failed = encode_event("InvokeComplete", "application/json", details)
    assert is_good(Way.STREAM, answer(200, pieces + ended))
    assert not is_good(Way.STREAM, answer(200, pieces))
    assert not is_good(Way.STREAM, answer(200, ended))
    broken = answer(200, pieces + failed)
    assert not is_good(Way.STREAM, broken)
    assert is_crash(broken)
    assert what_was_said(broken).startswith('200: {"ErrorCode"')
