"""Events as earlier versions stored them replay to the same state, and what is stored changes its shape only with an
upcaster. Add to the golden files; change nothing in them.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, get_args

import msgspec
import pytest
from eventsourcing.persistence import StoredEvent

from isotherm.base.errors import IsothermError
from isotherm.events.aggregate import Aggregate, Fact
from isotherm.events.denials import AccessHistory
from isotherm.events.forgetting import ForgottenHistory
from isotherm.events.upcasting import decode_fact, encode_fact, fact_types
from isotherm.tenancy.history import KeyHistory, NamespaceHistory, SecretHistory
from isotherm.tenancy.user_history import TokenKeyHistory, UserHistory
from isotherm.workloads.history import WorkloadHistory
from isotherm.workloads.model import Weight
from tests.databases import Databases
from tests.events.test_log import make_log

aggregates: dict[str, type[Aggregate[Any]]] = {
    "access": AccessHistory,
    "forgotten": ForgottenHistory,
    "key": KeyHistory,
    "namespace": NamespaceHistory,
    "user": UserHistory,
    "secret": SecretHistory,
    "token_key": TokenKeyHistory,
    "workload": WorkloadHistory,
}
golden = Path(__file__).parents[1] / "golden"
events = json.loads((golden / "events.json").read_text())
fact_shapes = json.loads((golden / "facts.json").read_text())  # JSON schema by kind and class version
state_shapes = json.loads((golden / "states.json").read_text())  # JSON schema by aggregate and state version


def replayed(name: str) -> Aggregate[Any]:
    aggregate = aggregates[name](f"{name}_1")
    for event in events:
        if event["aggregate"] == name:
            fact = event["fact"]
            aggregate.record(decode_fact(aggregates[name], fact["type"], json.dumps(fact).encode()))
    return aggregate


@pytest.mark.parametrize("name", aggregates)
def test_stored_facts_are_written_as_they_were(name: str) -> None:
    facts = replayed(name).pending
    stored = [event["fact"] for event in events if event["aggregate"] == name]
    for fact, former in zip(facts, stored, strict=True):
        written = encode_fact(fact)
        assert still_says(former, json.loads(written)), "but for members that came later"
        assert decode_fact(aggregates[name], former["type"], written) == fact


@pytest.mark.parametrize("name", aggregates)
def test_every_kind_of_fact_is_in_the_golden_file(name: str) -> None:
    facts = aggregates[name].facts
    kinds = {str(fact.__struct_config__.tag) for fact in get_args(facts) or (facts,)}
    stored = {event["fact"]["type"] for event in events if event["aggregate"] == name}
    assert kinds - stored <= {"workload.deleted"}, "which would end the history; it has no fields"


def test_a_workload_is_what_its_history_says() -> None:
    workload = replayed("workload")
    assert isinstance(workload, WorkloadHistory)
    assert (workload.version, workload.state.latest, workload.state.exists) == (27, 5, True)
    assert workload.state.states == {1: "ready", 3: "ready", 4: "building", 5: "building"}
    assert workload.state.aliases == {"live": [Weight(1, 1.0)]}
    assert workload.state.rollouts == {}, "both have ended"
    assert workload.same_as_latest("f5")
    assert (workload.state.heads, workload.state.versions) == ({5}, {1: 1, 3: 3, 4: 4})
    assert workload.state.last_version == 5, "a version that was deleted is never used again"


def test_a_snapshot_of_a_state_comes_back_as_it_was() -> None:
    for name, kind in aggregates.items():
        state = replayed(name).state
        assert msgspec.json.decode(msgspec.json.encode(state), type=kind.state_type) == state


def test_every_aggregate_is_here() -> None:
    ours = {kind for kind in Aggregate.__subclasses__() if kind.__module__.startswith("isotherm.")}
    assert ours == set(aggregates.values())


def shape_of(kind: type[msgspec.Struct]) -> Any:
    """Names, types and defaults of all fields, nested ones too; no descriptions."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in ("description", "title")}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    return bare(json.loads(msgspec.json.encode(msgspec.json.schema(kind))))


def still_says(former: Any, now: Any) -> bool:
    """Whether all that was stored is written as it was; what came anew is beside it, and empty."""
    if not isinstance(former, dict) or not isinstance(now, dict):
        return bool(former == now)
    anew = {key: now[key] for key in now.keys() - former.keys()}
    return not any(anew.values()) and all(key in now and still_says(value, now[key]) for key, value in former.items())


def still_reads(former: Any, now: Any) -> bool:
    """Whether what was written in the former shape is read in this one: nothing is gone or other than it was, and what
    came anew has a default."""
    if not isinstance(former, dict) or not isinstance(now, dict):
        return bool(former == now)
    if "properties" in former and set(former.get("required", ())) != set(now.get("required", ())):
        return False
    if "enum" in former:  # what was written is one of these still; others may have come
        return set(former["enum"]) <= set(now.get("enum", ()))
    return all(key in now and still_reads(value, now[key]) for key, value in former.items())


facts = [(kind, fact) for aggregate in aggregates.values() for kind, fact in fact_types(aggregate).items()]


@pytest.mark.parametrize(("kind", "fact"), facts, ids=[kind for kind, _ in facts])
def test_a_fact_changes_its_shape_only_with_an_upcaster(kind: str, fact: Any) -> None:
    known = fact_shapes.get(kind, {})
    assert str(fact.class_version) in known, f"add the shape of {kind} to tests/golden/facts.json: {shape_of(fact)}"
    assert still_reads(known[str(fact.class_version)], shape_of(fact)), (
        f"{kind} has another shape than it was stored with: raise class_version, write upcast_v{fact.class_version}_v"
        f"{fact.class_version + 1}, add the new shape to tests/golden/facts.json and a stored event to events.json"
    )
    for version in range(1, fact.class_version):
        assert callable(getattr(fact, f"upcast_v{version}_v{version + 1}", None)), f"{kind} lacks an upcaster"


@pytest.mark.parametrize("name", aggregates)
def test_a_state_changes_its_shape_only_with_its_version(name: str) -> None:
    kind = aggregates[name]
    shape = shape_of(kind.state_type)
    assert state_shapes.get(name, {}).get(str(kind.state_version)) == shape, (
        "snapshots of the former state are of no use: raise state_version, and add the shape to "
        f"tests/golden/states.json: {json.dumps(shape)}"
    )


def test_the_guard_sees_what_changed() -> None:
    one = {"properties": {"a": {"type": "string"}}, "required": ["a"]}
    more = {"properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 0}}, "required": ["a"]}
    assert still_reads(one, more)
    assert still_reads({"enum": ["a"]}, {"enum": ["a", "b"]})
    assert not still_reads({"enum": ["a", "b"]}, {"enum": ["a"]})
    assert not still_reads(more, one)
    assert not still_reads(one, {"properties": {"a": {"type": "integer"}}, "required": ["a"]})
    assert not still_reads(one, {**more, "required": ["a", "b"]})
    assert still_says({"a": {"b": 1}}, {"a": {"b": 1, "c": None}})
    assert not still_says({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}})
    assert not still_says({"a": {"b": 1}}, {"a": {"b": 2}})
    assert not still_says({"a": 1, "b": 2}, {"a": 1})


class Price(msgspec.Struct):
    total: int = 0


class Priced(Fact, frozen=True, tag="price.set"):
    """First `price` in dollars; then `cents`; then with a currency."""

    class_version: ClassVar[int] = 3
    cents: int
    currency: str

    @staticmethod
    def upcast_v1_v2(stored: dict[str, Any]) -> None:
        stored["cents"] = round(stored.pop("price") * 100)

    @staticmethod
    def upcast_v2_v3(stored: dict[str, Any]) -> None:
        stored["currency"] = "USD"


class Pricing(Aggregate[Price]):
    facts = Priced
    state_type = Price
    state_version = 2

    def apply(self, fact: Any) -> None:
        self.state.total += fact.cents


@pytest.mark.parametrize(
    "stored",
    [
        {"type": "price.set", "price": 1.5},
        {"type": "price.set", "cents": 150, "class_version": 2},
        {"type": "price.set", "cents": 150, "currency": "USD", "class_version": 3},
    ],
)
def test_a_fact_of_any_version_is_read_as_the_newest(stored: dict[str, Any]) -> None:
    read = decode_fact(Pricing, "price.set", json.dumps(stored).encode())
    assert read == Priced(cents=150, currency="USD")
    assert json.loads(encode_fact(read)) == {
        "type": "price.set", "cents": 150, "currency": "USD", "class_version": 3,
    }  # fmt: skip


def test_a_fact_of_a_newer_isotherm_is_refused() -> None:
    with pytest.raises(IsothermError, match="version 4; this Isotherm knows 3"):
        decode_fact(Pricing, "price.set", b'{"type": "price.set", "cents": 1, "class_version": 4}')
    with pytest.raises(IsothermError, match="does not know"):
        decode_fact(Pricing, "price.dropped", b"{}")


def test_stored_events_and_snapshots_of_former_versions_replay(databases: Databases, tmp_path: Path) -> None:
    """Written as they were then, under the present state's version; a snapshot of another version is passed over."""
    log = make_log(databases, tmp_path)
    former = [b'{"type":"price.set","price":1.5}', b'{"type":"price.set","cents":50,"class_version":2}']
    with log.transaction() as session:
        stored = [StoredEvent("price_1", n, "price.set", state) for n, state in enumerate(former, 1)]
        log._events.insert_events(stored, session=session, at_ms=1, principal_id="pr_1", namespace=None)
        log._snapshots.replace(session, StoredEvent("price_1", 2, "snapshot", b'{"dollars":2.0}'))
    with log.transaction() as session:
        found = log.load(session, Pricing, "price_1")
        assert (found.version, found.state.total) == (2, 200)
        found.record(Priced(cents=1, currency="EUR"))
        log.save(session, found, by="pr_1", namespace=None)
    with log.transaction() as session:
        assert log.load(session, Pricing, "price_1").state.total == 201
    assert log.entries().items[0].data == {"cents": 1, "currency": "EUR"}
    assert log.verify().ok
