"""Development functions: only the newest revision, never mixed with production, gone once nobody looks."""

import pytest

from isotherm.base.errors import Conflict, Invalid, NotFound
from isotherm.functions.development import KEEP_S, Leases
from isotherm.functions.model import CronConfig
from isotherm.workloads.rollout_model import RolloutPlan
from tests.house import House, house

__all__ = ["house"]


def leases(house: House) -> Leases:
    return house.functions._leases


def test_only_the_newest_ready_revision_stays(house: House) -> None:
    for number in range(4):
        house.deploy_ready("mine", development=True, memory_mb=64 + number)
    failed = house.deploy("mine", development=True, memory_mb=99).revision
    house.functions.mark_failed(failed.id, {"code": "import_failed"})
    known = house.functions.revisions(house.admin, "default", "mine").items
    assert [(each.number, each.state) for each in known] == [(5, "failed"), (4, "ready")]
    house.deploy_ready("mine", development=True, memory_mb=100)
    assert [each.number for each in house.functions.revisions(house.admin, "default", "mine").items] == [6]
    assert [weight.number for weight in house.functions.get(house.admin, "default", "mine").live] == [6]


def test_what_is_building_beside_it_stays(house: House) -> None:
    first = house.deploy("mine", development=True, memory_mb=64).revision
    second = house.deploy("mine", development=True, memory_mb=65).revision
    house.functions.mark_ready(second.id, template=True, unfit=[], elapsed_ms=1.0)
    assert [each.number for each in house.functions.revisions(house.admin, "default", "mine").items] == [2, 1]
    house.functions.mark_ready(first.id, template=True, unfit=[], elapsed_ms=1.0)
    assert [weight.number for weight in house.functions.get(house.admin, "default", "mine").live] == [2]


def test_a_function_is_of_development_with_all_its_revisions_or_with_none(house: House) -> None:
    house.deploy_ready("solid")
    with pytest.raises(Conflict, match="solid is deployed for production"):
        house.deploy("solid", development=True)
    house.deploy_ready("mine", development=True)
    with pytest.raises(Conflict, match="mine is a development function"):
        house.deploy("mine")
    house.functions.delete(house.admin, "default", "mine")
    house.deploy_ready("mine")
    assert not house.functions.get(house.admin, "default", "mine").development


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"debug": True}, "debug"),
        ({"development": True, "cron": [CronConfig(name="often", schedule="* * * * *")]}, "cron"),
        ({"development": True, "rollout": RolloutPlan(strategy="canary")}, "rollout"),
    ],
)
def test_what_development_has_no_place_for_is_refused(house: House, settings: dict[str, object], key: str) -> None:
    with pytest.raises(Invalid) as refused:
        house.deploy("mine", **settings)
    assert refused.value.data["key"] == key


def test_a_debugged_revision_is_one_instance_with_room_for_the_debugger(house: House) -> None:
    revision = house.deploy("mine", development=True, debug=True, memory_mb=100).revision
    spec = house.functions.spec(revision.id)
    assert (spec.debug, spec.development, spec.memory_mb) == (True, True, 228)
    warm = spec.warm
    assert (warm.min_instances, warm.max_instances, warm.spare, warm.template) == (1, 1, 0, False)


def test_one_that_nobody_looks_at_goes_and_no_other(house: House) -> None:
    for name in ("left", "watched"):
        house.deploy_ready(name, development=True)
    house.deploy_ready("solid")
    kept = leases(house)
    assert kept.sweep() == 0
    house.clock.advance(KEEP_S - 1)
    house.functions.get(house.admin, "default", "watched")
    assert kept.sweep() == 0
    house.clock.advance(2)
    assert kept.sweep() == 1
    with pytest.raises(NotFound):
        house.functions.get(house.admin, "default", "left")
    for name in ("watched", "solid"):
        house.functions.get(house.admin, "default", name)


def test_a_new_process_gives_each_its_time_anew(house: House) -> None:
    house.deploy_ready("left", development=True)
    house.clock.advance(10 * KEEP_S)
    fresh = Leases(log=house.log, workloads=house.workloads, clock=house.clock)
    assert fresh.sweep() == 0
    house.clock.advance(KEEP_S)
    assert fresh.sweep() == 1
    assert fresh.sweep() == 0
