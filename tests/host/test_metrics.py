"""The page of metrics of a host with many functions."""

import asyncio
import itertools
from pathlib import Path

from isotherm.base.clock import ManualClock
from isotherm.host.disk import DiskBook
from isotherm.host.metrics import ROWS_A_TURN, HostMetrics
from isotherm.host.uses import Uses
from isotherm.invocations.recorder import Recorder
from isotherm.sandbox.model import EgressReport
from isotherm.telemetry.prometheus import Exposition
from isotherm.wire.quota import Quota
from tests.gateway.front import Front

FUNCTIONS = 40 * ROWS_A_TURN


async def metrics_page(front: Front, recorder: Recorder, folder: Path) -> str:
    pool = front.bench.pool
    uses = Uses(pool.tenants, DiskBook(folder, folder, folder, pool.tenants))
    return await HostMetrics(recorder, pool, front.queue, {}, str(folder / "none.sock"), uses).text()


async def test_a_large_page_is_whole_and_lets_calls_have_their_turn(tmp_path: Path) -> None:
    front = Front(tmp_path)
    bench = front.bench
    recorder = Recorder(ManualClock())
    for number in range(FUNCTIONS):
        recorder.stats("default", f"f{number}", f"rev_{number}").ok(3.0, 2.0, 10, 20)
    turns = 0
    bench.pool.tenants.put("default", Quota(instances=9, rate_per_s=2.5))
    recorder.allowance.dropped["default", "f1"] = 12

    async def count() -> None:
        nonlocal turns
        for turn in itertools.count():
            turns = turn
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        page = await metrics_page(front, recorder, tmp_path)
    finally:
        counting.cancel()
        await bench.close()
    lines = page.splitlines()
    assert sum(line.startswith("isotherm_request_seconds_count{") for line in lines) == FUNCTIONS
    assert 'isotherm_requests_total{namespace="default",function="f7",outcome="ok"} 1' in lines
    for line in (
        'isotherm_quota_limit{namespace="default",quota="instances"} 9',
        'isotherm_quota_limit{namespace="default",quota="rate_per_s"} 2.5',
        'isotherm_quota_used{namespace="default",quota="instances"} 0',
        'isotherm_log_lines_dropped_total{namespace="default",function="f1"} 12',
    ):
        assert line in lines
    assert turns >= 2 * FUNCTIONS // ROWS_A_TURN, "the loop went round too seldom"


async def test_what_goes_out_is_counted_by_function_and_said_in_its_log(tmp_path: Path) -> None:
    front = Front(tmp_path)
    bench = front.bench
    try:
        revision = bench.revision()
        await bench.call(revision, 0).value()
        (template,) = bench.driver.templates
        template.on_egress(EgressReport(opened=2, open=2, sent_bytes=10, received_bytes=20))
        template.on_egress(EgressReport(refused=3, open=1, lines=("egress to b.example:80 is not allowed",)))
        page = await metrics_page(front, bench.recorder, tmp_path)
        (line,) = [line for line in bench.recorder.collect().logs if line.stream == "platform"]
    finally:
        await bench.close()
    of = f'namespace="default",function="{revision.spec.name}"'
    assert {line for line in page.splitlines() if line.startswith("isotherm_egress")} == {
        f"isotherm_egress_connections_total{{{of}}} 2",
        f"isotherm_egress_refused_total{{{of}}} 3",
        f"isotherm_egress_open{{{of}}} 1",
        f'isotherm_egress_bytes_total{{{of},direction="sent"}} 10',
        f'isotherm_egress_bytes_total{{{of},direction="received"}} 20',
    }
    assert (line.level, line.message) == ("warning", "egress to b.example:80 is not allowed")


def test_a_histogram_is_cumulative_with_and_without_labels() -> None:
    out = Exposition()
    out.histogram("h", "", ("1", "2"), [1, 2, 3], 9.5)
    out.histogram("h", '{a="b"}', ("1",), [0, 4], 2.0)
    assert out.text().splitlines() == [
        'h_bucket{le="1"} 1',
        'h_bucket{le="2"} 3',
        'h_bucket{le="+Inf"} 6',
        "h_sum 9.5",
        "h_count 6",
        'h_bucket{a="b",le="1"} 0',
        'h_bucket{a="b",le="+Inf"} 4',
        'h_sum{a="b"} 2',
        'h_count{a="b"} 4',
    ]
