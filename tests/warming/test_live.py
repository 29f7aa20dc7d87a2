"""The policy beside a platform: what it tells hosts minute by minute, what it writes down, what outlives a restart."""

import math
import random

import msgspec
import pytest

from isotherm.warming.budgets import parse_budget
from isotherm.warming.model import Rung
from isotherm.warming.service import Options, Warming
from tests.warming.platform import BEGIN, MINUTE_MS, FakePlatform, cron, revision, route


def every(period: int, name: str, second: float = 0.0):
    return lambda minute: [(name, second)] if minute % period == 0 else []


def test_a_timer_on_the_minute_finds_an_instance_and_there_is_none_between() -> None:
    platform = FakePlatform(Options(budget=parse_budget("idle <= 0.05 GBh/day")))
    platform.deploy(revision("timer"))
    platform.run(150, every(30, "timer"))
    platform.cold.clear()
    platform.run(120, every(30, "timer"))
    assert platform.cold == []
    held = []
    for _ in range(30):
        platform.run(1, every(30, "timer"))
        held.append(platform.instances("timer"))
    assert sum(count > 0 for count in held) < 12


def test_it_has_far_fewer_cold_starts_than_keep_alives_for_the_memory_of_keep_alives() -> None:
    names = [f"f{i}" for i in range(40)]
    chance = random.Random(4)
    periods = {name: chance.choice([12, 15, 20, 30, 45]) for name in names}
    offsets = {name: chance.randrange(period) for name, period in periods.items()}

    def calls(minute: int):
        return [(name, 1.0) for name in names if minute % periods[name] == offsets[name]]

    platform = FakePlatform()
    platform.deploy(*(revision(name, warm={"keep_alive_s": 600, "template_keep_alive_s": 600}) for name in names))
    platform.run(240, calls)
    late = [minute for minute, _ in platform.cold if minute >= BEGIN + 120]
    all_calls = sum(len(calls(minute)) for minute in range(BEGIN + 120, BEGIN + 240))
    assert len(late) < 0.15 * all_calls, "keep-alives of ten minutes would have had all of them cold"
    assert platform.warming.avoided > 0.5 * all_calls


def test_what_is_called_at_the_end_of_a_minute_is_not_let_go_with_the_next() -> None:
    platform = FakePlatform()
    platform.deploy(revision("f"))
    platform.run(5)
    platform.run(1, lambda _: [("f", 56.0)])
    platform.run(1)
    assert platform.instances("f") == 1
    assert any(each.reason == "called" for each in platform.receipts)


def test_a_schedule_is_known_beforehand_and_written_down_as_the_reason() -> None:
    platform = FakePlatform()
    spec = revision("job")
    platform.deploy(spec, routes=[route(spec, crons=[cron("*/20 * * * *")])])
    assert BEGIN % 20 == 0
    platform.run(45, every(20, "job"))
    assert [minute for minute, _ in platform.cold] == [BEGIN], "the first was due before anyone had looked"
    assert any(each.reason == "cron" and each.rung == "warm" for each in platform.receipts)
    sent = [each.again_ms for each in platform.receipts if each.rung != "warm" and each.again_ms]
    assert all(again % (20 * MINUTE_MS) == 0 for again in sent)


def test_the_jitter_of_a_schedule_is_waited_out() -> None:
    platform = FakePlatform()
    spec = revision("job")
    platform.deploy(spec, routes=[route(spec, crons=[cron("*/20 * * * *", jitter_s=150)])])
    platform.run(19)
    held = []
    for _ in range(5):
        platform.run(1)
        held.append(platform.instances("job"))
    assert held[1:4] == [1, 1, 1]


def test_one_that_goes_by_its_keep_alive_is_told_nothing() -> None:
    platform = FakePlatform()
    platform.deploy(revision("mine", warm={"policy": "keep_alive"}), revision("yours"))
    platform.run(30, lambda minute: [("mine", 1.0), ("yours", 1.0)] if minute % 3 == 0 else [])
    assert not [each for message in platform.messages for each in message.targets if "mine" in each.revision_id]
    assert [each for message in platform.messages for each in message.targets if "yours" in each.revision_id]
    spec = revision("yours", 2, warm={"policy": "keep_alive"})
    platform.deploy(spec)
    platform.run(2)
    assert "rev_yours_1" in [each for message in platform.messages for each in message.released]
    assert not platform.told


def test_load_needs_as_many_instances_as_run_at_once() -> None:
    platform = FakePlatform()
    platform.deploy(revision("busy"))

    def calls(minute: int):
        return [("busy", second % 60) for second in range(3000)] if minute >= BEGIN + 2 else []

    platform.run(15, calls)
    assert 2 <= platform.told["rev_busy_1"][0] <= 8, "50 a second of 20 ms: one at once on average"
    assert any(each.reason == "peak" for each in platform.receipts)


def test_parts_of_the_calls_get_parts_of_the_instances() -> None:
    platform = FakePlatform()
    old, new = revision("f", 1), revision("f", 2)
    platform.deploy(old, new, routes=[route(old, [(old.id, 0.95), (new.id, 0.05)])])
    platform.specs["f"] = old
    platform.run(10, lambda minute: [("f", 3.0)])
    assert platform.told[old.id] == (1, True)
    assert platform.told[new.id] == (0, True)


def test_a_small_part_that_is_called_each_minute_gets_an_instance() -> None:
    platform = FakePlatform()
    old, new = revision("f", 1), revision("f", 2)
    platform.deploy(old, new, routes=[route(old, [(old.id, 0.95), (new.id, 0.05)])])
    platform.specs["f"] = old
    platform.run(10, lambda minute: [("f", second) for second in range(0, 60, 2)])
    assert platform.told[new.id] == (1, True)


def test_what_a_rollout_moves_and_what_somebody_works_on_go_by_their_keep_alives() -> None:
    platform = FakePlatform()
    old, new = revision("f", 1), revision("f", 2)
    mine = revision("mine", development=True)
    platform.deploy(old, new, mine, routes=[route(old), route(mine)])
    platform.specs["f"] = old
    platform.run(4, lambda minute: [("f", 3.0), ("mine", 3.0)])
    assert platform.told.keys() == {old.id}
    platform.deploy(old, new, routes=[route(old, [(old.id, 0.9), (new.id, 0.1)], standby=[new.id])])
    platform.specs["f"] = old
    platform.run(2, lambda minute: [("f", 3.0)])
    assert platform.told == {}
    platform.deploy(new, routes=[route(new)])
    platform.run(2, lambda minute: [("f", 3.0)])
    assert platform.told.keys() == {new.id}


def test_what_was_just_deployed_waits_for_a_first_call_by_its_keep_alives() -> None:
    platform = FakePlatform()
    platform.run(2)
    platform.deploy(revision("f", warm={"keep_alive_s": 60, "template_keep_alive_s": 300}), revision("g"), fresh=True)
    platform.run(5, lambda minute: [("g", 3.0)] if minute == BEGIN + 4 else [])
    assert platform.told.keys() == {"rev_g_1"}, "the host keeps f as its deploy has left it"
    platform.run(3)
    assert "rev_f_1" in platform.told


def test_after_its_first_call_nothing_is_let_go_that_was_not_decided_about() -> None:
    platform = FakePlatform()
    platform.run(2)
    platform.deploy(revision("f", warm={"keep_alive_s": 300}), fresh=True)
    platform.run(1)
    platform.run(2, lambda minute: [("f", 3.0)] if minute == BEGIN + 3 else [])
    assert platform.told.get("rev_f_1", (1, True)) != (0, False), "by its keep-alive it would wait now"


def test_what_was_deployed_before_the_policy_began_waits_for_a_first_call_too() -> None:
    platform = FakePlatform()
    keeps = {"keep_alive_s": 60, "template_keep_alive_s": 300}
    platform.deploy(revision("f", warm=keeps), revision("g", warm=keeps))
    platform.warming.restore(platform.now_ms, [("default", "g", BEGIN - 2, 1, 9.0)])
    platform.deploy(revision("e", warm=keeps), fresh=True)  # between that and the first decision
    platform.run(3)
    assert platform.told.keys() == {"rev_g_1"}, "the host keeps e and f as their deploys have left them"
    platform.run(4)
    assert platform.told.keys() == {"rev_e_1", "rev_f_1", "rev_g_1"}


def test_what_was_not_called_yet_still_waits_after_a_restart() -> None:
    platform = FakePlatform()
    platform.run(2)
    platform.deploy(revision("f", warm={"keep_alive_s": 60, "template_keep_alive_s": 300}), fresh=True)
    platform.run(1)
    again = FakePlatform(begin=BEGIN + 3)
    again.deploy(*platform.specs.values())
    again.warming.restore(again.now_ms, [])
    again.warming.resume(platform.warming.state())
    again.run(3)
    assert again.told == {}
    again.run(4)
    assert again.told.keys() == {"rev_f_1"}


def test_receipts_say_what_was_forecast_and_what_else_it_might_have_cost() -> None:
    platform = FakePlatform()
    platform.deploy(revision("f", warm={"keep_alive_s": 60, "template_keep_alive_s": 60}))
    platform.hold("f", instance_mb=50, template_mb=30)
    platform.run(90, every(30, "f"))
    warm = [each for each in platform.receipts if each.rung == "warm"]
    colder = [each for each in platform.receipts if each.rung != "warm" and each.former_rung == "warm"]
    assert warm
    assert colder
    for each in platform.receipts:
        assert each.namespace == "default"
        assert 0 <= each.expected <= 1
        assert (each.rung, each.instances) != (each.former_rung, each.former_instances)
        assert (each.instances > 0) == (each.rung == "warm")
        by_rung = {other.rung: other for other in each.alternatives}
        assert by_rung.keys() == {"cold", "template", "warm"}
        assert by_rung["cold"].idle_gb_s == 0
        assert math.isclose(by_rung["warm"].idle_gb_s, (1 - each.expected) * 0.08 * 60, rel_tol=0.01)
        assert by_rung["cold"].wait_s > by_rung["template"].wait_s > by_rung["warm"].wait_s == 0
        assert each.budget == "platform: idle <= what keep-alives would spend"


def test_budgets_are_those_of_workload_namespace_and_platform() -> None:
    platform = FakePlatform(Options(budget=parse_budget("idle <= 1 GBh/day per namespace")))
    own = revision("own", warm={"budget": "p_cold <= 5%"})
    theirs = revision("theirs", namespace="team")
    platform.deploy(own, theirs, revision("plain"), quotas={"team": "idle <= 2 GBh/day"})
    platform.run(6, lambda minute: [(name, 1.0) for name in ("own", "theirs", "plain")])
    assert {each.name: each.budget for each in platform.receipts} == {
        "own": "workload default/own: p_cold <= 5%",
        "theirs": "namespace team: idle <= 2 GBh/day",
        "plain": "namespace default: idle <= 1 GBh/day",
    }


def test_memory_of_the_host_is_not_exceeded_whatever_is_expected() -> None:
    platform = FakePlatform(Options(budget=parse_budget("host <= 0.2 GB")))
    names = [f"f{i}" for i in range(12)]
    platform.deploy(*(revision(name) for name in names))
    for name in names:
        platform.hold(name, instance_mb=40, template_mb=10)
    platform.run(20, lambda minute: [(name, 2.0) for name in names])
    warm = sum(1 for instances, _ in platform.told.values() if instances)
    assert 1 <= warm <= 4
    assert any(each.reason == "budget" for each in platform.receipts)


@pytest.mark.parametrize("down_minutes", [0, 7])
def test_a_restart_goes_on_where_it_was(down_minutes: int) -> None:
    names = ["a", "b"]
    calls = [(minute, name) for minute in range(BEGIN, BEGIN + 150) for name, period in (("a", 30), ("b", 25))
             if minute % period == 0]  # fmt: skip

    def came(minute: int):
        return [(name, 0.0) for at, name in calls if at == minute]

    before = FakePlatform()
    before.deploy(*(revision(name) for name in names))
    before.run(150 - down_minutes, came)
    after = FakePlatform(begin=BEGIN + 150)
    after.deploy(*(revision(name) for name in names))
    after.warming.restore(
        after.now_ms - 5000, [("default", name, minute, 1, 20.0) for minute, name in calls] + [("x", "gone", 1, 1, 1.0)]
    )
    after.warming.resume(before.warming.state())
    after.take(after.warming.turn(after.now_ms - 5000).warmth)
    first = next(minute for minute in range(BEGIN + 150, BEGIN + 200) if minute % 30 == 0 or minute % 25 == 0)
    assert first == BEGIN + 150
    after.run(60, lambda minute: [(n, 0.0) for n, period in (("a", 30), ("b", 25)) if minute % period == 0])
    assert [each for each in after.cold if each[0] > BEGIN + 150] == []


def test_what_another_release_kept_is_refused_and_changes_nothing() -> None:
    platform = FakePlatform()
    with pytest.raises(msgspec.MsgspecError):
        platform.warming.resume(b"\x93nonsense")
    assert platform.warming.policy.accounts.credit.tolist() == [0.0]


def test_a_host_that_comes_later_is_told_everything() -> None:
    platform = FakePlatform()
    platform.deploy(revision("f"), revision("g"))
    platform.run(10, lambda minute: [("f", 2.0), ("g", 3.0)])
    told = platform.told.copy()
    platform.take(platform.warming.whole())
    assert platform.messages[-1].full
    assert platform.told == told


def test_rows_of_what_is_gone_are_used_again_with_nothing_of_its_past() -> None:
    platform = FakePlatform()
    platform.deploy(revision("f"))
    platform.run(20, lambda minute: [("f", 2.0)])
    row = platform.warming.catalog.by_key["default", "f"].row
    from isotherm.wire.desired import Desired, Removed

    platform.warming.apply(Desired(epoch="e", version=9, full=False, removed=[Removed("route", "wl_f")]))
    platform.run(1)
    assert "rev_f_1" not in platform.told
    platform.deploy(revision("g"))
    assert platform.warming.catalog.by_key["default", "g"].row == row
    assert platform.warming.policy.past.last[row] == -1
    platform.run(2)
    assert platform.instances("g") == 0


def test_there_is_room_for_more_workloads_than_at_first() -> None:
    platform = FakePlatform()
    platform.deploy(*(revision(f"f{i}") for i in range(300)))
    platform.run(5, lambda minute: [("f299", 2.0), ("f1", 2.0)])
    platform.deploy(*(revision(f"g{i}") for i in range(700)))
    again = FakePlatform(begin=BEGIN + 5)
    again.deploy(*platform.specs.values())
    again.warming.restore(again.now_ms, [("default", "f299", BEGIN + 3, 1, 9.0)])
    assert again.warming.policy.past.last.max() == BEGIN + 3
    platform.run(3, lambda minute: [("g699", 2.0), ("f299", 2.0)])
    assert platform.instances("g699") == platform.instances("f299") == 1
    assert len(platform.warming.policy.rung) >= 1000


def test_minutes_without_a_turn_are_made_up_for() -> None:
    platform = FakePlatform()
    platform.deploy(revision("f"))
    platform.run(20, every(10, "f"))
    platform.now_ms += 5 * MINUTE_MS
    platform.run(25, every(10, "f"))
    assert platform.warming.policy.past.gaps[platform.warming.catalog.by_key["default", "f"].row, 0] == 10


def test_a_call_that_ran_for_minutes_is_counted_when_it_is_known_and_breaks_no_order() -> None:
    platform = FakePlatform()
    platform.deploy(revision("slow"))
    from isotherm.wire.telemetry import Batch, MinuteAggregate

    platform.run(10)
    one = MinuteAggregate(namespace="default", name="slow", revision_id="rev_slow_1", minute=0, count=1, outcomes={},
                          cold={}, latency=[], total_ms=5 * MINUTE_MS, run_ms=5 * MINUTE_MS, queue_ms=0.0)  # fmt: skip
    platform.warming.take(
        Batch(host_id="h", boot_id="b", sequence=1, sent_at_ms=int(platform.now_ms), minutes=[one]), platform.now_ms
    )
    platform.run(2)
    assert platform.warming.policy.past.last[0] == BEGIN + 9, "the last minute of which not all is known"


def test_nothing_is_warm_of_what_was_never_called_where_that_has_a_price() -> None:
    platform = FakePlatform()
    platform.deploy(*(revision(f"f{i}") for i in range(50)))
    platform.run(30)
    assert not any(instances for instances, _ in platform.told.values())
    assert (platform.warming.policy.rung < Rung.WARM).all()


def test_the_same_calls_lead_to_the_same_decisions() -> None:
    told = []
    for _ in range(2):
        platform = FakePlatform(warming=Warming(Options()))
        platform.deploy(revision("f"), revision("g"))
        platform.run(60, lambda minute: [("f", 5.0)] * (minute % 7 == 0) + [("g", 9.0)] * (minute % 4 == 0))
        told.append([msgspec.to_builtins(each) for each in platform.receipts])
    assert told[0] == told[1]
