"""A revision whose secrets have changed: its successor takes every call, and none is lost on the way."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from isotherm.base.errors import ImportFailed, IsothermError, Unavailable
from isotherm.pool.masking import MASK, mask_of
from isotherm.wire.desired import RevisionSpec
from tests.pool.bench import PoolBench

TOKEN = "import os\nTOKEN = os.environ['TOKEN']\n\ndef handler(event, context):\n    return TOKEN\n"
HELD = TOKEN.replace(
    "    return", "    import time\n    while not os.path.exists(event):\n        time.sleep(0.005)\n    return"
)
PICKY = TOKEN + "if TOKEN == 'wrong-value':\n    raise ValueError(f'{TOKEN} is no good')\n"


def with_token(bench: PoolBench, code: str = TOKEN, value: str = "first-value", **changes: Any) -> RevisionSpec:
    return bench.spec(code, env={"TOKEN": value}, secrets={"TOKEN": "token"}, **changes)


def changed(spec: RevisionSpec, value: str) -> RevisionSpec:
    return msgspec.structs.replace(spec, env={"TOKEN": value})


class Switches:
    """Counts them."""

    def __init__(self, bench: PoolBench) -> None:
        self.count = 0
        self._bench = bench

    def __call__(self) -> None:
        self.count += 1

    async def reach(self, count: int) -> None:
        await self._bench.until(lambda: self.count >= count, f"switch number {count}")


async def test_the_successor_takes_over_once_an_instance_of_it_is_there(bench: PoolBench) -> None:
    spec, switches = with_token(bench, warm={"spare": 1}), Switches(bench)
    former = bench.pool.revision(spec)
    assert await bench.call(former).value() == "first-value"
    bench.driver.faults.prepare_delay_s = 0.2
    bench.pool.renew(changed(spec, "second-value"), switches)
    assert await bench.call(bench.pool.revision(spec)).value() == "first-value", "its template is not there yet"
    await switches.reach(1)
    after = bench.call(bench.pool.revision(spec))
    assert await after.value() == "second-value"
    assert after.call.cold_cause == "spare", "it was started before it took over"
    await bench.until(lambda: len(bench.driver.templates) == 1, "the end of the former template")
    lines = [line.message for line in bench.recorder.collect().logs if line.stream == "platform"]
    assert lines == ["new values of its secrets are in use"]
    assert bench.pool.held == {bench.pool.revision(spec)}
    assert list(bench.pool.templates) == [bench.pool.revision(spec)]


async def test_whoever_still_knows_the_former_pool_reaches_the_successor(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    former = bench.pool.revision(spec)
    await bench.call(former).value()
    for number, value in enumerate(("second-value", "third-value"), 1):
        bench.pool.renew(changed(spec, value), switches)
        await switches.reach(number)
        assert await bench.call(former).value() == value


async def test_running_calls_end_where_they_run_and_waiting_ones_go_over(bench: PoolBench) -> None:
    spec, switches = with_token(bench, HELD, warm={"max_instances": 1}), Switches(bench)
    former, first, second = bench.pool.revision(spec), bench.folder / "first", bench.folder / "second"
    running = bench.call(former, str(first))
    await bench.until(lambda: running.call.carrier is not None, "its start")
    waiting = bench.call(former, str(second))
    gone = bench.call(former, str(second))
    bench.pool.renew(changed(spec, "second-value"), switches)
    await switches.reach(1)
    former.abandon(gone.call)
    second.touch()
    assert await waiting.value() == "second-value", "the former's limit of one instance does not hold it up"
    assert not running.done.done()
    first.touch()
    assert await running.value() == "first-value"
    assert not gone.done.done()
    await bench.until(lambda: len(bench.driver.instances) == 1, "the end of the former instance")


async def test_under_constant_load_no_call_is_lost(bench: PoolBench) -> None:
    spec, switches = with_token(bench, value="value-0", warm={"spare": 1, "max_instances": 4}), Switches(bench)
    seen: list[tuple[int, str]] = []  # switches before the call was made, and what it answered
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            before = switches.count
            seen.append((before, await bench.call(bench.pool.revision(spec)).value()))

    clients = [asyncio.create_task(client()) for _ in range(8)]
    await bench.until(lambda: len(seen) > 50, "answers")
    for number in range(1, 6):
        bench.pool.renew(changed(spec, f"value-{number}"), switches)
        await switches.reach(number)
        mark = len(seen)
        await bench.until(lambda mark=mark: len(seen) > mark + 50, "answers after the switch")
    stop.set()
    await asyncio.gather(*clients)
    assert {value for _, value in seen} == {f"value-{number}" for number in range(6)}
    assert [(before, value) for before, value in seen if int(value[-1]) < before] == []


async def test_where_the_import_fails_the_former_goes_on_and_says_why(bench: PoolBench) -> None:
    spec, switches = with_token(bench, PICKY), Switches(bench)
    revision = bench.pool.revision(spec)
    await bench.call(revision).value()
    bench.pool.renew(changed(spec, "wrong-value"), switches)
    await bench.until(lambda: revision.outdated, "the failure")
    assert await bench.call(bench.pool.revision(spec)).value() == "first-value"
    (state,) = bench.pool.states()
    assert f"ValueError: {MASK} is no good" in str(state.outdated)
    (line,) = [line for line in bench.recorder.collect().logs if line.stream == "platform"]
    assert line.level == "error"
    assert "goes on with the former ones" in line.message
    assert "wrong-value" not in line.message
    assert len(bench.pool.templates) == len(bench.driver.templates) == 1
    bench.pool.renew(changed(spec, "third-value"), switches)
    await switches.reach(1)
    assert await bench.call(bench.pool.revision(spec)).value() == "third-value"
    assert bench.pool.states()[-1].outdated is None


async def test_what_passes_by_itself_is_tried_again(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    await bench.call(bench.pool.revision(spec)).value()
    bench.driver.faults.prepare_error = Unavailable("the warden is away")
    bench.pool.renew(changed(spec, "second-value"), switches)
    await bench.until(lambda: bench.pool.revision(spec).outdated, "a failure")
    bench.driver.faults.prepare_error = None
    await switches.reach(1)
    assert await bench.call(bench.pool.revision(spec)).value() == "second-value"


async def test_the_newest_value_wins_over_one_that_is_being_built(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    await bench.call(bench.pool.revision(spec)).value()
    bench.driver.faults.prepare_delay_s = 0.1
    for value in ("second-value", "third-value", "third-value"):
        bench.pool.renew(changed(spec, value), switches)
    await switches.reach(1)
    assert await bench.call(bench.pool.revision(spec)).value() == "third-value"
    await bench.until(lambda: len(bench.driver.templates) == len(bench.pool.templates) == 1, "the end of the others")
    assert switches.count == 1


async def test_a_value_that_is_taken_back_builds_nothing(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    await bench.call(bench.pool.revision(spec)).value()
    bench.driver.faults.prepare_delay_s = 0.1
    bench.pool.renew(changed(spec, "second-value"), switches)
    bench.pool.renew(spec, switches)
    await bench.until(lambda: len(bench.pool.templates) == 1, "the end of what was begun")
    assert (bench.driver.prepared, switches.count) == (1, 0)


async def test_a_cold_revision_just_is_another_one(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    former = bench.pool.revision(spec)
    bench.pool.renew(changed(spec, "second-value"), switches)
    assert (switches.count, bench.driver.prepared) == (1, 0)
    assert await bench.call(former).value() == "second-value"


async def test_what_is_forgotten_meanwhile_gets_no_successor(bench: PoolBench) -> None:
    spec, switches = with_token(bench), Switches(bench)
    await bench.call(bench.pool.revision(spec)).value()
    bench.driver.faults.prepare_delay_s = 0.1
    bench.pool.renew(changed(spec, "second-value"), switches)
    await bench.pool.forget(spec.id)
    await bench.until(lambda: not bench.pool.templates and not bench.driver.templates, "the end of all of it")
    assert spec.id not in bench.pool.revisions


async def test_preparing_again_takes_the_present_value(bench: PoolBench) -> None:
    spec = with_token(bench, PICKY)
    await bench.pool.prepare_template(spec)
    with pytest.raises(ImportFailed):
        await bench.pool.prepare_template(changed(spec, "wrong-value"))
    await bench.pool.prepare_template(changed(spec, "second-value"))
    await bench.pool.prepare_instances(changed(spec, "second-value"), 1)
    assert await bench.call(bench.pool.revision(spec)).value() == "second-value"


async def test_a_minimum_of_instances_is_there_before_the_switch(bench: PoolBench) -> None:
    spec, switches = with_token(bench, warm={"min_instances": 2}), Switches(bench)
    bench.pool.revision(spec)
    bench.maintain()
    await bench.until(lambda: len(bench.pool.revision(spec).connections) == 2, "its minimum")
    bench.pool.renew(changed(spec, "second-value"), switches)
    await switches.reach(1)
    assert len(bench.pool.revision(spec).free) == 2


async def test_values_are_masked_in_lines_tails_and_errors(bench: PoolBench) -> None:
    code = TOKEN + "\n".join(
        [
            "def handler(event, context):",
            "    print('token', TOKEN, {'t': TOKEN})",
            "    raise ValueError('bad ' + TOKEN)",
        ]
    )
    value = 'pass"word\nsecond line'
    revision = bench.pool.revision(with_token(bench, code, value))
    call = bench.call(revision)
    call.call.tail = []
    with pytest.raises(IsothermError) as caught:
        await call.value()
    collected = bench.recorder.collect()
    shown = str(caught.value.problem()) + str(collected.logs) + str(collected.invocations) + str(call.call.tail)
    assert MASK in shown
    for part in ('pass"word', 'pass\\"word', "second line"):
        assert part not in shown


async def test_an_import_that_fails_in_an_instance_is_masked_too(bench: PoolBench) -> None:
    revision = bench.pool.revision(with_token(bench))
    bench.driver.faults.start_error = ImportFailed("no good: first-value", stack_trace=["line with first-value"])
    with pytest.raises(ImportFailed) as caught:
        await bench.call(revision).value()
    assert caught.value.problem()["data"] == {"stack_trace": [f"line with {MASK}"]}
    assert str(caught.value) == caught.value.message == f"no good: {MASK}"


async def test_a_mask_looks_for_a_bounded_number_of_lines(bench: PoolBench) -> None:
    value = "\n".join(f"line number {number:05}" for number in range(2000))
    mask = mask_of(with_token(bench, value=value))
    assert mask is not None
    began_s = time.process_time()
    assert mask.text("x" * 65_536 + value) == "x" * 65_536 + MASK
    assert mask.bytes(b"x" * 65_536 + value.encode()) == b"x" * 65_536 + MASK.encode()
    assert time.process_time() - began_s < 0.1


async def test_short_values_and_revisions_without_secrets_have_no_mask(bench: PoolBench) -> None:
    assert mask_of(with_token(bench, value="abc")) is None
    assert mask_of(bench.spec(env={"TOKEN": "a-long-value"})) is None
    assert mask_of(bench.spec(secrets={"GONE": "removed"})) is None
    mask = mask_of(with_token(bench, value="long-value\nlong"))
    assert mask is not None
    assert mask.text("a long-value of long standing") == f"a {MASK} of {MASK} standing"
