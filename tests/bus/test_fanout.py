"""Fan-out: bounded subscribers, the slow ones lose the oldest and are told."""

import pytest

from isotherm.base.errors import TooManyRequests
from isotherm.bus.fanout import Fanout, Lost


async def test_items_reach_the_subscribers_of_their_key_alone() -> None:
    bus: Fanout[str, int] = Fanout()
    with bus.subscribe("a") as a, bus.subscribe("b") as b:
        bus.publish("a", 1)
        assert await a.get(1) == 1
        assert await b.get(0.01) is None


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    bus: Fanout[str, int] = Fanout(limit=3)
    with bus.subscribe("a") as slow:
        for number in range(8):
            bus.publish("a", number)
        assert await slow.get(1) == Lost(5)
        assert [await slow.get(1) for _ in range(3)] == [5, 6, 7]
        assert await slow.get(0.01) is None


async def test_batches_take_what_is_there_and_are_empty_after_the_wait() -> None:
    bus: Fanout[str, int] = Fanout(limit=4)
    with bus.subscribe("a") as subscription:
        for number in range(6):
            bus.publish("a", number)
        batches = subscription.batches(0.01, limit=3)
        assert await anext(batches) == [Lost(2), 2, 3]
        assert await anext(batches) == [4, 5]
        assert await anext(batches) == []


async def test_a_closed_subscription_leaves_nothing_behind() -> None:
    bus: Fanout[str, int] = Fanout()
    subscription = bus.subscribe("a")
    assert len(bus) == 1
    subscription.close()
    subscription.close()
    assert len(bus) == 0
    bus.publish("a", 1)


async def test_more_subscribers_than_allowed_are_refused() -> None:
    bus: Fanout[str, int] = Fanout(max_subscribers=1)
    with bus.subscribe("a"), pytest.raises(TooManyRequests) as refused:
        bus.subscribe("b")
    assert refused.value.retry_after_s
    bus.subscribe("b").close()
