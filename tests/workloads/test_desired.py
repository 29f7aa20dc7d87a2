"""The feed: applying what changed since any version to the state of that version gives the whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from isotherm.base.errors import IsothermError
from isotherm.events.changes import desired_changes, note_change
from isotherm.functions.model import FunctionConfig
from isotherm.tenancy.model import Key
from isotherm.wire.desired import Desired, Item, item_id
from isotherm.workloads import policy, rollout_store, store
from isotherm.workloads.history import WorkloadHistory
from isotherm.workloads.model import Weight
from isotherm.workloads.rollout_model import Mark, RolloutPlan
from isotherm.workloads.rollout_policy import stages
from tests.databases import Databases
from tests.house import House, house, open_house

__all__ = ["house"]

State = dict[tuple[str, str], Item]


def applied(state: State, delta: Desired) -> State:
    """What a host does with it."""
    after = {} if delta.full else dict(state)
    after.update({item_id(item): item for item in delta.items})
    for gone in delta.removed:
        after.pop((gone.kind, gone.id), None)
    return after


class Feed(RuleBasedStateMachine):
    """Commands of all kinds, and hosts that fell behind at every version."""

    revisions: Bundle[str] = Bundle("revisions")
    keys: Bundle[Key] = Bundle("keys")
    folder: Callable[[], Path]
    databases: Databases

    @initialize()
    def begin(self) -> None:
        self.house = open_house(type(self).folder(), type(self).databases, snapshot_every=5)
        self.package = self.house.package()
        self.house.secrets.set(self.house.admin, "default", "kept", "first")
        self.states: dict[int, State] = {0: {}}
        self.remember()

    def remember(self) -> None:
        full = self.house.feed.full()
        self.states[full.version] = applied({}, full)

    def attempt(self, command: Callable[[], object]) -> None:
        try:
            command()
        except IsothermError:
            return
        finally:
            self.remember()

    @rule(target=revisions, name=st.sampled_from("ab"), memory_mb=st.integers(64, 66), public=st.booleans())
    def deploy(self, name: str, memory_mb: int, public: bool) -> str:
        config = FunctionConfig(
            package=self.package,
            memory_mb=memory_mb,
            public=public,
            env={"A": str(memory_mb)},
            secrets={"TOKEN": "kept"} if public else {},
        )
        made = self.house.functions.deploy(self.house.admin, "default", name, config)
        self.remember()
        return made.revision.id

    @rule(revision=revisions)
    def ready(self, revision: str) -> None:
        self.attempt(lambda: self.house.functions.mark_ready(revision, template=True, unfit=[], elapsed_ms=1))

    @rule(revision=revisions)
    def failed(self, revision: str) -> None:
        self.attempt(lambda: self.house.functions.mark_failed(revision, {"code": "internal"}))

    @rule(name=st.sampled_from("ab"), first=st.integers(1, 4), share=st.sampled_from([0.25, 0.5]))
    def split(self, name: str, first: int, share: float) -> None:
        weights = [Weight(first, share), Weight(first + 1, 1 - share)]
        self.attempt(lambda: self.house.functions.set_alias(self.house.admin, "default", name, "beta", weights))

    @rule(name=st.sampled_from("ab"))
    def delete_alias(self, name: str) -> None:
        self.attempt(lambda: self.house.functions.delete_alias(self.house.admin, "default", name, "beta"))

    @rule(name=st.sampled_from("ab"))
    def roll_back(self, name: str) -> None:
        self.attempt(lambda: self.house.functions.rollback(self.house.admin, "default", name))

    @rule(
        name=st.sampled_from("ab"), to=st.integers(1, 4), alias=st.sampled_from(["live", "beta"]), shadow=st.booleans()
    )
    def begin_rollout(self, name: str, to: int, alias: str, shadow: bool) -> None:
        plan = RolloutPlan(strategy="canary", steps=(20, 100), shadow=5 if shadow else 0)
        rollouts, admin = self.house.rollouts, self.house.admin
        self.attempt(lambda: rollouts.start(admin, "default", name, to, plan, alias=alias))

    @rule(end=st.sampled_from(["step", "step", "roll back", "finish"]))
    def go_on(self, end: str) -> None:
        for row in self.house.rollouts.open():
            if end == "step" and row.step < len(stages(row.plan)):
                mark = Mark(old_since=0, new_since=0)
                self.attempt(lambda row=row, mark=mark: self.house.rollouts.step(row.id, row.step + 1, mark, None))
            elif end == "roll back":
                self.attempt(lambda row=row: self.house.rollouts.roll_back(row.id, "errors", None))
            elif end == "finish" and row.step:
                self.attempt(lambda row=row: self.house.rollouts.finish(row.id, None))

    @rule(name=st.sampled_from("ab"))
    def delete(self, name: str) -> None:
        self.attempt(lambda: self.house.functions.delete(self.house.admin, "default", name))

    @rule(value=st.sampled_from(["first", "second"]))
    def set_secret(self, value: str) -> None:
        self.attempt(lambda: self.house.secrets.set(self.house.admin, "default", "kept", value))

    @rule(target=keys)
    def make_key(self) -> Key:
        made = self.house.tenancy.create_key(self.house.admin, "default", name="ci", role="viewer")
        self.remember()
        return made.key

    @rule(key=consumes(keys))
    def revoke(self, key: Key) -> None:
        self.attempt(lambda: self.house.tenancy.revoke_key(self.house.admin, "default", key.id))

    @invariant()
    def every_host_catches_up(self) -> None:
        if not hasattr(self, "states"):
            return
        full = self.house.feed.full()
        whole = applied({}, full)
        for version, state in self.states.items():
            delta = self.house.feed.desired(self.house.feed.epoch, version)
            assert delta.version == full.version
            assert applied(state, delta) == whole

    @invariant()
    def projections_are_what_the_histories_say(self) -> None:
        if not hasattr(self, "states"):
            return
        with self.house.log.transaction() as session:
            rows = store.list_workloads(session, "function", "default", after=None, limit=10)
            for row in rows:
                history = self.house.log.load(session, WorkloadHistory, row.id)
                revisions = store.list_revisions(session, row.id, below=None, limit=1000)
                aliases = store.list_aliases(session, row.id, after="", limit=1000)
                assert history.state.exists
                assert (history.version, history.state.name) == (row.version, row.name)
                assert {one.spec.number: one.state for one in revisions} == history.state.states
                assert {one.name: one.weights for one in aliases} == history.state.aliases
                assert row.live == history.state.aliases.get("live", [])
                moving = [one for _, one in rollout_store.list_rollouts(session, row.id, below=None, limit=1000)]
                assert {one.alias: (one.id, one.step) for one in moving if one.state == "open"} == {
                    alias: (one.id, one.step) for alias, one in history.state.rollouts.items()
                }

    @invariant()
    def no_route_leads_nowhere(self) -> None:
        if not hasattr(self, "states"):
            return
        items = self.house.feed.full().items
        known = {item.revision.id for item in items if item.revision is not None}
        for route in (item.route for item in items if item.route is not None):
            assert "live" in {alias.name for alias in route.aliases}
            assert {revision for alias in route.aliases for revision, _ in alias.weights} <= known
            assert {revision for _, revision in route.versions} <= known
            assert {*route.standby, *(shadow.revision_id for shadow in route.shadows)} <= known

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.house.database.close()


@pytest.mark.timeout(400)
def test_deltas_from_any_version_add_up_to_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    monkeypatch.setattr(policy, "KEPT_REVISIONS", 4)
    monkeypatch.setattr(policy, "CALLABLE_REVISIONS", 2)
    numbers = iter(range(10**6))

    def folder() -> Path:
        made = tmp_path / str(next(numbers))
        made.mkdir()
        return made

    Feed.databases = databases
    Feed.folder = staticmethod(folder)  # type: ignore[method-assign]  # each run of the machine has its own
    case = Feed.TestCase
    case.settings = settings(max_examples=15, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    case().runTest()


def test_a_host_that_is_up_to_date_is_told_nothing(house: House) -> None:
    house.deploy_ready()
    delta = house.feed.desired(house.feed.epoch, house.feed.version())
    assert (delta.full, delta.items, delta.removed) == (False, [], [])


def test_what_changed_often_is_told_once(house: House) -> None:
    before = house.feed.version()
    for memory_mb in range(64, 70):
        house.deploy_ready(memory_mb=memory_mb)
    delta = house.feed.desired(house.feed.epoch, before)
    ids = [item_id(item) for item in delta.items]
    assert len(ids) == len(set(ids)) == 7


def test_another_epoch_or_a_version_of_the_future_gets_everything(house: House) -> None:
    house.deploy_ready()
    full = house.feed.full()
    assert house.feed.desired("epoch_other", full.version) == full
    assert house.feed.desired(None, 0) == full
    assert house.feed.desired(house.feed.epoch, full.version + 1) == full
    assert house.feed.desired(house.feed.epoch, -1) == full


def test_a_host_that_is_too_far_behind_gets_everything(house: House) -> None:
    house.deploy_ready()
    with house.log.transaction() as session:
        for _ in range(2100):
            note_change(session, "route", "wl_gone", kept=1000)
    with house.database.read() as session:
        kept = session.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(desired_changes)).scalar_one()
    assert 1000 <= kept <= 2000
    newest = house.feed.version()
    assert house.feed.desired(house.feed.epoch, 1).full
    assert not house.feed.desired(house.feed.epoch, newest - kept).full
    assert house.feed.desired(house.feed.epoch, newest - kept - 1).full


def test_the_epoch_is_that_of_the_database(house: House, tmp_path: Path, databases: Databases) -> None:
    house.database.close()
    assert open_house(tmp_path, databases).feed.epoch == house.feed.epoch
    (tmp_path / "other").mkdir()
    assert open_house(tmp_path / "other", databases).feed.epoch != house.feed.epoch


def test_listeners_hear_of_changes_that_hosts_need(house: House) -> None:
    heard: list[int] = []
    take_off = house.feed.on_change(lambda: heard.append(house.feed.version()))
    house.deploy()
    assert heard == [], "a building revision is nobody's business"
    house.functions.mark_ready(house.functions.building()[0].id, template=True, unfit=[], elapsed_ms=1)
    assert heard == [house.feed.version()]
    take_off()
    house.functions.delete(house.admin, "default", "hello")
    assert len(heard) == 1


def test_a_revision_that_is_forgotten_while_callable_is_taken_from_hosts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "KEPT_REVISIONS", 4)
    first = house.deploy(memory_mb=64).revision.id
    house.functions.mark_ready(first, template=True, unfit=[], elapsed_ms=1)
    house.deploy_ready(memory_mb=65)
    before = house.feed.full()
    for memory_mb in (66, 67, 68):
        house.deploy(memory_mb=memory_mb)
    delta = house.feed.desired(before.epoch, before.version)
    assert [(gone.kind, gone.id) for gone in delta.removed] == [("revision", first)]
    assert applied(applied({}, before), delta) == applied({}, house.feed.full())
    assert [number for item in delta.items if item.route for number, _ in item.route.versions] == [2]
