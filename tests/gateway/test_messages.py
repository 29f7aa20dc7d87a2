"""Heads of answers from sandboxes: whatever they hold, what goes out is one response."""

import contextlib

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from isotherm.base.buckets import TokenBucket
from isotherm.base.errors import InvalidResponse
from isotherm.gateway.messages import HeadCache

texts = st.text(max_size=30)


@given(st.integers(-1, 1000), st.lists(st.tuples(texts, texts), max_size=5), st.lists(texts, max_size=3))
def test_a_head_is_refused_or_is_one_well_formed_head(
    status: int, headers: list[tuple[str, str]], cookies: list[str]
) -> None:
    with contextlib.suppress(InvalidResponse):
        head = HeadCache().get(msgspec.json.encode([status, headers, cookies]))
        first, *lines, last = head.text.encode("latin-1").split(b"\r\n")
        assert first.startswith(b"HTTP/1.1 %d " % status)
        assert last == b""
        assert len(lines) <= len(headers) + len(cookies)
        for line in lines:
            assert b":" in line
            assert not {0, 10, 13} & set(line)


@given(st.binary(max_size=100))
def test_bytes_that_are_no_head_are_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidResponse):
        assert HeadCache().get(raw).status in range(200, 600)


def test_hop_by_hop_and_our_own_headers_are_dropped() -> None:
    names = ["Connection", "Transfer-Encoding", "Content-Length", "Date", "X-Amzn-RequestId", "Upgrade", "X-Kept"]
    head = HeadCache().get(msgspec.json.encode([200, [(name, "v") for name in names], []]))
    assert head.text == "HTTP/1.1 200 OK\r\nX-Kept: v\r\n"


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(InvalidResponse):
        HeadCache().get(msgspec.json.encode([200, [("a", "b")] * 300, []]))


def test_the_cache_is_bounded() -> None:
    cache = HeadCache()
    for number in range(3000):
        cache.get(msgspec.json.encode([200, [("n", str(number))], []]))
    assert len(cache._heads) <= 1024


@given(st.floats(0.1, 1000), st.integers(1, 50), st.lists(st.floats(0, 3), max_size=200))
def test_a_bucket_never_gives_more_than_its_rate_and_burst(rate: float, burst: int, steps: list[float]) -> None:
    bucket = TokenBucket(rate, burst, 0.0)
    now = 0.0
    taken = 0
    for step in steps:
        now += step
        wait = bucket.take(now)
        taken += wait == 0.0
        assert 0 <= wait <= 1 / rate + 1e-6
    assert taken <= burst + now * rate + 1e-6
