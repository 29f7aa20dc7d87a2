"""Old revisions are forgotten by policy and when asked; never what an alias points to or someone calls."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.base.errors import Forbidden, NotFound
from isotherm.functions.pruning import Pruning
from isotherm.workloads.model import RevisionState, Weight
from isotherm.workloads.policy import pinned_numbers, sweep
from isotherm.workloads.rollout_model import Mark, RolloutPlan
from tests.databases import Databases
from tests.house import House, house, open_house

__all__ = ["house"]

DAY_MS = 86_400_000
DAY_S = 86_400
NOW_MS = 1_000 * DAY_MS


def pruning(house: House, *, keep_last: int = 3, keep_days: float = 7.0, called: set[str] | None = None) -> Pruning:
    return Pruning(
        log=house.log,
        tenancy=house.tenancy,
        workloads=house.workloads,
        clock=house.clock,
        keep_last=keep_last,
        keep_days=keep_days,
        in_use=lambda ids, since_ms: called or set(),
    )


def numbers(house: House, name: str = "hello") -> list[int]:
    return [one.number for one in house.functions.revisions(house.admin, "default", name, limit=1000).items]


def ready(house: House, count: int, name: str = "hello") -> None:
    for number in range(count):
        house.deploy_ready(name, memory_mb=64 + number)


revisions = st.dictionaries(
    st.integers(1, 60), st.tuples(st.sampled_from(["building", "ready", "failed"]), st.floats(0, 60)), max_size=60
)
aliases = st.lists(st.lists(st.builds(Weight, st.integers(1, 60), st.just(0.5)), max_size=3), max_size=5)


@given(revisions, aliases, st.integers(1, 30), st.floats(0, 40))
def test_the_policy_never_drops_what_must_stay_and_drops_all_else(
    known: dict[int, tuple[RevisionState, float]], pointing: list[list[Weight]], keep_last: int, keep_days: float
) -> None:
    states = {number: state for number, (state, _) in known.items()}
    created = {number: round(NOW_MS - age * DAY_MS) for number, (_, age) in known.items()}
    pinned = pinned_numbers(pointing)
    gone = sweep(states, created, pinned, NOW_MS, keep_last=keep_last, keep_days=keep_days)
    assert gone == sorted(set(gone))
    assert not set(gone) & pinned
    newest_ready = max((number for number, state in states.items() if state == "ready"), default=None)
    for number in states:
        stays = (
            number in sorted(states)[-keep_last:]
            or number in pinned
            or number == newest_ready
            or states[number] == "building"
            or NOW_MS - created[number] < keep_days * DAY_MS
        )
        assert (number in gone) == (not stays)


def test_the_policy_forgets_what_is_old_and_keeps_what_is_young(house: House) -> None:
    ready(house, 6)
    assert pruning(house).sweep() == 0, "all are young"
    house.clock.advance(8 * DAY_S)
    house.deploy_ready(memory_mb=500)
    assert pruning(house).sweep() == 4
    assert numbers(house) == [7, 6, 5]
    dropped = [entry for entry in house.log.entries().items if entry.kind == "workload.revision_dropped"]
    assert {(entry.principal_id, entry.data["number"]) for entry in dropped} == {
        ("system", each) for each in (1, 2, 3, 4)
    }
    assert pruning(house).sweep() == 0


def test_what_an_alias_points_to_or_is_called_stays(house: House) -> None:
    ready(house, 8)
    house.functions.set_alias(house.admin, "default", "hello", "old", [Weight(2, 0.5), Weight(3, 0.5)])
    called = house.functions.revision(house.admin, "default", "hello", 4).id
    house.functions.rollback(house.admin, "default", "hello", to=1)
    house.clock.advance(8 * DAY_S)
    assert pruning(house, keep_last=1, called={called}).sweep() == 3
    assert numbers(house) == [8, 4, 3, 2, 1]
    told = {item.revision.number for item in house.feed.full().items if item.revision is not None}
    assert told == {8, 4, 3, 2, 1}
    assert pruning(house, keep_last=1).sweep() == 1, "nobody calls 4 any more"


def test_the_newest_ready_one_stays_behind_any_number_of_failures(house: House) -> None:
    ready(house, 2)
    for memory_mb in range(600, 604):
        house.functions.mark_failed(house.deploy(memory_mb=memory_mb).revision.id, {"code": "internal"})
    house.functions.rollback(house.admin, "default", "hello", to=1)
    house.clock.advance(30 * DAY_S)
    pruning(house, keep_last=1).sweep()
    assert numbers(house) == [6, 2, 1]
    house.functions.rollback(house.admin, "default", "hello", to=2)


def test_what_an_open_rollout_moves_between_stays(house: House) -> None:
    ready(house, 5)
    begun = house.rollouts.start(house.admin, "default", "hello", 2, RolloutPlan(strategy="canary"))
    house.clock.advance(30 * DAY_S)
    assert pruning(house, keep_last=1).sweep() == 3
    assert numbers(house) == [5, 2]
    told = {item.revision.number for item in house.feed.full().items if item.revision is not None}
    assert told == {5, 2}
    house.rollouts.step(begun.id, 1, Mark(old_since=0, new_since=0), None)
    assert pruning(house).prune(house.admin, "default", "hello", keep=1).dropped == []
    house.rollouts.roll_back(begun.id, "errors", None)
    assert pruning(house, keep_last=1).sweep() == 1
    assert numbers(house) == [5]


def test_packages_go_with_their_last_revision(house: House) -> None:
    first = house.package(app="first = 1")
    house.deploy_ready(package=first)
    ready(house, 3)
    house.clock.advance(8 * DAY_S)
    pruning(house, keep_last=2).sweep()
    assert house.functions.sweep_packages() == 1
    assert not house.blobs.exists(first)


def test_prune_keeps_as_many_as_asked_and_only_says_so_first(house: House) -> None:
    ready(house, 6)
    events = house.kinds()
    said = pruning(house).prune(house.admin, "default", "hello", keep=2, dry_run=True)
    assert (said.dropped, said.kept, said.dry_run) == ([1, 2, 3, 4], 2, True)
    assert (house.kinds(), len(numbers(house))) == (events, 6)
    assert pruning(house).prune(house.admin, "default", "hello").dropped == [], "by the policy they are young"
    done = pruning(house).prune(house.principal("developer"), "default", "hello", keep=2)
    assert (done.dropped, done.kept) == ([1, 2, 3, 4], 2)
    assert numbers(house) == [6, 5]
    assert house.deploy(memory_mb=999).revision.number == 7, "numbers are not used again"


def test_only_who_may_prunes(house: House) -> None:
    ready(house, 2)
    house.tenancy.create_namespace(house.admin, "team")
    verb: Callable[..., object] = pruning(house).prune
    for role in ("viewer", "invoker"):
        with pytest.raises(Forbidden):
            verb(house.principal(role), "default", "hello", keep=1)
    with pytest.raises(NotFound, match="no namespace"):
        verb(house.principal("admin", "team"), "default", "hello", keep=1)
    with pytest.raises(NotFound, match="no function"):
        verb(house.admin, "default", "absent")


def test_a_sweep_takes_many_functions_in_turn(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isotherm.functions.pruning._workloads_at_once", 2)
    for name in "abcde":
        ready(house, 3, name)
    house.clock.advance(8 * DAY_S)
    sweeping = pruning(house, keep_last=1)
    assert sum(sweeping.sweep() for _ in range(4)) == 10
    assert all(len(numbers(house, name)) == 1 for name in "abcde")


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(st.sampled_from(["deploy", "ready", "fail", "alias", "rollback", "day", "sweep"]), max_size=25),
    data=st.data(),
)
def test_whatever_happened_every_alias_points_to_a_revision_that_is_there(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, steps: list[str], data: st.DataObject
) -> None:
    house = open_house(tmp_path_factory.mktemp("house"), databases)
    ready(house, 1)
    for step in ["deploy", "ready", *steps, "day", "sweep"]:
        building = house.functions.building()
        known = [
            one.number
            for one in house.functions.revisions(house.admin, "default", "hello").items
            if one.state == "ready"
        ]
        if step == "deploy":
            house.deploy(memory_mb=data.draw(st.integers(100, 10_000)))
        elif step == "ready" and building:
            house.functions.mark_ready(building[0].id, template=True, unfit=[], elapsed_ms=1)
        elif step == "fail" and building:
            house.functions.mark_failed(building[0].id, {"code": "internal"})
        elif step == "alias":
            number = data.draw(st.sampled_from(known))
            house.functions.set_alias(house.admin, "default", "hello", "pinned", [Weight(number, 1.0)])
        elif step == "rollback":
            house.functions.rollback(house.admin, "default", "hello", to=data.draw(st.sampled_from(known)))
        elif step == "day":
            house.clock.advance(DAY_S)
        elif step == "sweep":
            pruning(house, keep_last=1, keep_days=0.5).sweep()
        there = set(numbers(house))
        pointed = {
            w.number for alias in house.functions.aliases(house.admin, "default", "hello").items for w in alias.weights
        }
        assert pointed <= there
        told = {item.revision.number for item in house.feed.full().items if item.revision is not None}
        assert pointed <= told <= there
    house.database.close()
