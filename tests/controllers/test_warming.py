"""The warming controller over real records and a scripted host: what it tells, writes, keeps and gives up."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from isotherm.base.clock import SystemClock
from isotherm.base.errors import Unavailable
from isotherm.bus.board import HostBoard
from isotherm.controllers.link import LinkServer
from isotherm.controllers.warming import WarmingController
from isotherm.warming.service import Options, Warming
from isotherm.wire.telemetry import Batch, MinuteAggregate
from isotherm.wire.warmth import Warmth
from tests.controllers.hosts import connect, unix_listener
from tests.databases import Databases
from tests.house import House, open_house

MINUTE_S = 1.0
OPTIONS = Options(minute_s=MINUTE_S, lead_s=0.2, settle_s=0.2)


def called(sequence: int) -> Batch:
    one = MinuteAggregate(
        namespace="default", name="hello", revision_id="", minute=int(time.time() / 60), count=1, outcomes={"ok": 1},
        cold={}, latency=[], total_ms=5.0, run_ms=5.0, queue_ms=0.0,
    )  # fmt: skip
    sent_at_ms = int(time.time() * 1000)
    return Batch(host_id="h", boot_id="b", sequence=sequence, sent_at_ms=sent_at_ms, minutes=[one])


class Kept:
    """What the controller keeps: in memory, so that a test can look and can let it fail."""

    def __init__(self, history: list[tuple[str, str, int, int, float]] | None = None) -> None:
        self.receipts: list[object] = []
        self.state: tuple[int, bytes] | None = None
        self.history = history or []
        self.asked: list[int] = []
        self.away = 0  # so many reads fail

    def add_receipts(self, receipts: list[object], /) -> None:
        self.receipts += receipts

    def minute_counts(self, since_minute: int, /) -> list[tuple[str, str, int, int, float]]:
        if self.away:
            self.away -= 1
            raise Unavailable("the database is away")
        self.asked.append(since_minute)
        return self.history

    def keep_state(self, name: str, body: bytes, at_ms: int, /) -> None:
        self.state = (at_ms, body)

    def kept_state(self, name: str, /) -> tuple[int, bytes] | None:
        return self.state


class Stage:
    def __init__(self, controller: WarmingController, path: str, house: House) -> None:
        self.controller, self.path, self.house = controller, path, house
        self.shown: list[Warming] = []
        self.given_up: list[str] = []


@pytest.fixture
def house(tmp_path: Path, databases: Databases) -> Iterator[House]:
    opened = open_house(tmp_path, databases)
    opened.deploy_ready(memory_mb=64)
    yield opened
    opened.database.close()


@asynccontextmanager
async def control(
    house: House, kept: Kept, make: Callable[[int], Warming] = lambda now_ms: Warming(OPTIONS)
) -> AsyncIterator[Stage]:
    board = HostBoard()
    with ThreadPoolExecutor(1) as pool:
        link = LinkServer(
            source=house.feed, ingest=lambda batch: True, board=board, on_logs=lambda lines: None, store_on=pool,
            clock=SystemClock(), isotherm_version="1.0", poll_s=0.05,
        )  # fmt: skip
        async with unix_listener() as (listener, path):
            controller = WarmingController(
                make=make,
                source=house.feed,
                records=kept,  # type: ignore[arg-type]  # receipts are not looked into here
                link=link,
                board=board,
                show=lambda warming: stage.shown.append(warming),
                give_up=lambda why: stage.given_up.append(why),
                clock=SystemClock(),
                interval_s=0.1,
            )
            stage = Stage(controller, path, house)
            tasks = [asyncio.create_task(link.serve(listener)), asyncio.create_task(controller.run())]
            try:
                yield stage
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_host_is_told_everything_first_and_then_what_is_new(house: House) -> None:
    kept = Kept()
    async with control(house, kept) as stage:
        host = await connect(stage.path, epoch=house.feed.epoch, version=0)
        first = await host.take(Warmth)
        assert first.full
        assert first.valid_s == pytest.approx(3 * MINUTE_S)
        await until(lambda: stage.shown, "a plan")
        for sequence in range(40):
            stage.controller.took(called(sequence))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while not [target for target in (await host.take(Warmth)).targets if target.instances]:
                pass
        await until(lambda: kept.receipts, "a receipt")
    assert kept.state is not None, "what it knows of prices is kept when it ends"


async def test_what_was_kept_is_taken_up_again(house: House) -> None:
    kept = Kept()
    async with control(house, kept) as stage:
        await until(lambda: stage.shown, "a plan")
        stage.shown[0].measured.cold_s[0] = 1.75
    async with control(house, kept) as stage:
        await until(lambda: stage.shown, "a plan")
        assert stage.shown[0].measured.cold_s[0] == 1.75
        assert stage.shown[0].policy.accounts.shadow.weight > 1


async def test_counts_are_read_only_where_a_minute_is_one(house: House) -> None:
    kept = Kept([("default", "hello", int(time.time() / 60) - 5, 3, 20.0)])
    made: list[Warming] = []

    def of_minutes(now_ms: int) -> Warming:
        made.append(Warming(Options()))
        return made[-1]

    async with control(house, kept, of_minutes):
        await until(lambda: kept.asked, "the question for counts")
        await until(lambda: made[0].policy.past.last.max() > 0, "what was counted")
    other = Kept(kept.history)
    async with control(house, other) as stage:
        await until(lambda: stage.shown, "a plan")
    assert other.asked == []


async def test_without_the_extra_keep_alives_decide_and_it_says_why(house: House) -> None:
    def missing(now_ms: int) -> Warming:
        raise Unavailable("policies that learn need numba")

    async with control(house, Kept(), missing) as stage:
        host = await connect(stage.path, epoch=house.feed.epoch, version=0)
        await until(lambda: stage.given_up, "giving up")
        assert stage.given_up == ["policies that learn need numba"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                raise AssertionError(await host.take(Warmth))


async def test_a_database_that_is_away_is_no_reason_to_give_up(house: House) -> None:
    kept = Kept()
    kept.away = 1000
    async with control(house, kept, lambda now_ms: Warming(Options())) as stage:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(stage.controller.run(), 20)  # `keep_running` begins it again
        assert stage.given_up == []
