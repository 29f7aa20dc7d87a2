"""Counters that add up, bounds that hold and say so, a spool that forgets nothing unless it must."""

import asyncio
import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from isotherm.base.clock import ManualClock
from isotherm.host.shipping import Shipper
from isotherm.host.spool import Spool
from isotherm.invocations.allowance import LogRates
from isotherm.invocations.recorder import MAX_RECORDS, MAX_SAMPLED, Recorder
from isotherm.storage.vault import Vault
from isotherm.telemetry.logging import configure_logging, get_logger
from isotherm.telemetry.prometheus import Exposition, labels
from isotherm.wire.link import Telemetry, decode_from_host
from isotherm.wire.telemetry import LATENCY_BUCKETS_MS, Batch, InvocationRecord, LogLine, WorkloadState


def record(number: int, why: Any = "failed") -> InvocationRecord:
    return InvocationRecord(
        id=f"i{number}",
        namespace="default",
        name="f",
        revision_id="rev_1",
        alias="live",
        source="url",
        started_at_ms=0,
        queue_ms=0,
        start_ms=0,
        run_ms=1,
        total_ms=1,
        outcome="ok",
        status=200,
        why_kept=why,
    )


def line(revision: str, message: str, *, name: str = "f", namespace: str = "default") -> LogLine:
    return LogLine(namespace=namespace, name=name, revision_id=revision, instance_id="i", at_ms=0, message=message)


@given(st.lists(st.floats(0, 100_000), max_size=200), st.lists(st.integers(0, 120), max_size=20))
def test_minutes_add_up_to_what_happened(latencies: list[float], steps: list[int]) -> None:
    clock = ManualClock()
    recorder = Recorder(clock)
    stats = recorder.stats("default", "f", "rev_1")
    minutes = []
    for number, latency in enumerate(latencies):
        stats.ok(latency, latency / 2, 3, 5)
        if number < len(steps):
            clock.advance(steps[number])
        recorder.tick()
        if number % 7 == 0:
            minutes += recorder.collect().minutes
    minutes += recorder.collect().minutes
    assert sum(minute.count for minute in minutes) == len(latencies) == stats.total.count
    assert sum(sum(minute.latency) for minute in minutes) == len(latencies)
    assert sum(minute.total_ms for minute in minutes) == pytest.approx(sum(latencies))
    assert sum(minute.response_bytes for minute in minutes) == 5 * len(latencies)
    assert all(minute.count == sum(minute.outcomes.values()) for minute in minutes)
    slow = sum(latency > LATENCY_BUCKETS_MS[-1] for latency in latencies)
    assert sum(minute.latency[-1] for minute in minutes) == slow


def test_a_call_counts_in_the_minute_it_ended_in() -> None:
    clock = ManualClock(start_ms=60_000 * 1000)
    recorder = Recorder(clock)
    stats = recorder.stats("default", "f", "rev_1")
    stats.ok(1, 1, 0, 0)
    clock.advance(60)
    recorder.tick()
    stats.ok(1, 1, 0, 0)
    stats.note("timeout", "first", 5, 4, 1, 0, 0, 0)
    found = recorder.collect().minutes
    assert [(minute.minute, minute.count) for minute in found] == [(1000, 1), (1001, 2)]
    assert (found[1].outcomes, found[1].cold) == ({"ok": 1, "timeout": 1}, {"first": 1})


def test_bounds_count_what_they_drop_and_samples_are_just_fewer() -> None:
    recorder = Recorder(ManualClock())
    for number in range(MAX_RECORDS + 10):
        recorder.keep(record(number))
    for number in range(MAX_SAMPLED + 10):
        recorder.keep(record(number, "sampled"))
    found = recorder.collect()
    assert len(found.invocations) == MAX_RECORDS
    assert found.dropped["invocations"] == 10 + MAX_SAMPLED
    for number in range(MAX_SAMPLED + 10):
        recorder.keep(record(number, "sampled"))
    again = recorder.collect()
    assert (len(again.invocations), again.dropped) == (MAX_SAMPLED, {})


def test_a_function_that_floods_its_log_is_cut_told_once_a_window_and_silences_no_other() -> None:
    clock = ManualClock()
    recorder = Recorder(clock, LogRates(bytes_per_s=100_000, burst_bytes=200_000, line_bytes=10_000))
    for _ in range(300):
        recorder.log(line("rev_loud", "x" * 9_936, name="loud"))
    recorder.log(line("rev_quiet", "hello"))
    found = recorder.collect()
    messages = [each.message for each in found.logs]
    assert messages[20] == "hello"
    assert messages[21] == "280 log lines (2,800,000 bytes) were dropped: a function may log 97.6562 KB a second"
    assert (found.logs[21].name, found.logs[21].stream, len(messages)) == ("loud", "platform", 22)
    assert found.dropped == {"logs": 280}
    assert recorder.allowance.dropped == {("default", "loud"): 280}
    kept = told = 0
    for _ in range(40):
        clock.advance(0.5)
        for _ in range(50):
            recorder.log(line("rev_loud", "x" * 9_936, name="loud"))
        logs = recorder.collect().logs
        told += sum(each.stream == "platform" for each in logs)
        kept += sum(each.stream == "log" for each in logs)
    assert kept == 20 * 10, "twenty seconds at ten lines a second"
    assert told == 2, "once in ten seconds"


def test_a_namespace_over_its_log_quota_is_cut_over_all_its_functions_and_its_neighbour_is_not() -> None:
    clock = ManualClock()
    recorder = Recorder(clock, LogRates(line_bytes=1000))
    recorder.limit_logs("team", 10.0)
    for number in range(100):
        recorder.log(line("rev_1", "x" * 960, name=f"f{number}", namespace="team"))
        recorder.log(line("rev_2", "x" * 960))
    found = recorder.collect()
    of_team = [each for each in found.logs if each.namespace == "team" and each.stream == "log"]
    assert len(of_team) == 20, "two seconds of 10 KB"
    assert sum(each.namespace == "default" for each in found.logs) == 100
    assert "the namespace team has a quota of 10 KB of log a second" in found.logs[-1].message
    recorder.limit_logs("team", None)
    for number in range(100):
        recorder.log(line("rev_1", "x" * 960, name=f"f{number}", namespace="team"))
    assert len(recorder.collect().logs) == 100


def test_many_functions_of_one_namespace_together_silence_no_other() -> None:
    recorder = Recorder(ManualClock())
    for number in range(20):
        for _ in range(10):
            recorder.log(line("rev_1", "x" * 100_000, name=f"f{number}", namespace="loud"))
    recorder.log(line("rev_2", "hello"))
    found = recorder.collect()
    assert [each.message for each in found.logs if each.namespace == "default"] == ["hello"]
    assert sum(each.namespace == "loud" and each.stream == "log" for each in found.logs) == 41


def test_a_line_as_large_as_any_passes_a_small_rate() -> None:
    recorder = Recorder(ManualClock(), LogRates(bytes_per_s=1024, burst_bytes=64 * 1024, line_bytes=256 * 1024))
    recorder.limit_logs("default", 1.0)
    recorder.log(line("rev_1", "x" * 256 * 1024))
    assert len(recorder.collect().logs) == 1


def test_totals_of_a_revision_that_is_gone_stay_with_its_function() -> None:
    recorder = Recorder(ManualClock())
    recorder.stats("default", "f", "rev_1").ok(1, 1, 0, 0)
    recorder.retire("rev_1")
    assert len(recorder.collect().minutes) == 1
    assert recorder.all_stats() == []
    assert recorder.retired["default", "f"].count == 1


def batch(number: int, boot: str = "boot_1") -> Batch:
    return Batch(host_id="h", boot_id=boot, sequence=number, sent_at_ms=0, logs=[line("r", "z" * 500)])


def test_the_spool_keeps_order_over_restarts_and_reads_back_what_it_got(tmp_path: Path, vault: Vault) -> None:
    spool = Spool(tmp_path, vault, 1_000_000)
    for number in range(1, 4):
        spool.put(batch(number))
    again = Spool(tmp_path, vault, 1_000_000)
    again.put(batch(1, "boot_2"))
    assert again.waiting() == [("boot_1", 1), ("boot_1", 2), ("boot_1", 3), ("boot_2", 1)]
    message = again.get(("boot_1", 2))
    assert message is not None
    assert decode_from_host(message[4:]) == Telemetry(batch(2))
    again.discard(("boot_1", 2))
    again.discard(("boot_1", 2))
    assert again.get(("boot_1", 2)) is None
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_spool_drops_the_oldest_and_counts_them(tmp_path: Path, vault: Vault) -> None:
    spool = Spool(tmp_path, vault, 3_000)
    for number in range(1, 11):
        spool.put(batch(number))
    waiting = spool.waiting()
    assert waiting[-1] == ("boot_1", 10)
    assert len(waiting) < 6
    assert spool.take_dropped() == 10 - len(waiting)
    assert spool.take_dropped() == 0
    assert len(list(tmp_path.iterdir())) == len(waiting)


def test_a_damaged_batch_is_dropped_and_counted_not_fatal(tmp_path: Path, vault: Vault) -> None:
    spool = Spool(tmp_path, vault, 1_000_000)
    spool.put(batch(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert spool.get(("boot_1", 1)) is None
    assert (spool.waiting(), spool.take_dropped()) == ([], 1)


class Uplink:
    def __init__(self) -> None:
        self.here = True
        self.sent: list[int] = []

    def connected(self) -> bool:
        return self.here

    def send_raw(self, message: bytes) -> None:
        decoded = decode_from_host(message[4:])
        assert isinstance(decoded, Telemetry)
        self.sent.append(decoded.batch.sequence)


async def test_a_shipper_sends_within_its_window_and_again_after_a_lost_connection(
    tmp_path: Path, vault: Vault
) -> None:
    recorder, uplink = Recorder(ManualClock()), Uplink()
    spool = await asyncio.to_thread(Spool, tmp_path, vault, 10_000_000)
    states: list[WorkloadState] = []
    shipper = Shipper("h", "boot_1", recorder, spool, ManualClock(), lambda: states, dict, list)
    shipper.uplink = uplink
    await shipper.ship()
    assert uplink.sent == [1]
    await shipper.ship()
    assert uplink.sent == [1]
    uplink.here = False
    for number in range(20):
        recorder.log(line("r", str(number)))
        await shipper.ship()
    uplink.here = True
    await shipper.send_waiting()
    assert uplink.sent == list(range(1, 17))
    for number in range(1, 17):
        await shipper.acknowledged("boot_1", number)
    assert uplink.sent == list(range(1, 22))
    shipper.disconnected()
    await shipper.send_waiting()
    assert uplink.sent[21:] == list(range(17, 22))
    await shipper.close()


def test_logs_are_json_and_hide_what_is_named_like_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    import structlog

    try:
        configure_logging("host")
        get_logger("test").warning("it happened", name="f", authorization="Bearer iso_x", token="iso_y")
    finally:
        structlog.reset_defaults()
    printed = json.loads(capsys.readouterr().err)
    assert (printed["event"], printed["process"], printed["room"], printed["level"]) == (
        "it happened",
        "host",
        "test",
        "warning",
    )
    assert "iso_" not in str(printed)


def test_labels_are_escaped() -> None:
    out = Exposition()
    out.family("isotherm_x", "gauge", "A thing")
    out.sample("isotherm_x", labels(a='q"\\\n'), 1.5)
    assert out.text().splitlines()[2] == 'isotherm_x{a="q\\"\\\\\\n"} 1.5'
