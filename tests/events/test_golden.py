"""Events as earlier versions stored them replay to the same state. Add to the golden file; change nothing in it."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from isotherm.events.aggregate import Aggregate
from isotherm.events.denials import AccessHistory
from isotherm.tenancy.history import KeyHistory, NamespaceHistory, SecretHistory
from isotherm.workloads.history import WorkloadHistory
from isotherm.workloads.model import Weight

aggregates: dict[str, type[Aggregate[Any]]] = {
    "access": AccessHistory,
    "key": KeyHistory,
    "namespace": NamespaceHistory,
    "secret": SecretHistory,
    "workload": WorkloadHistory,
}
events = json.loads((Path(__file__).parents[1] / "golden" / "events.json").read_text())


def replayed(name: str) -> Aggregate[Any]:
    aggregate = aggregates[name](f"{name}_1")
    for event in events:
        if event["aggregate"] == name:
            aggregate.record(msgspec.json.decode(json.dumps(event["fact"]), type=aggregates[name].facts))
    return aggregate


@pytest.mark.parametrize("name", aggregates)
def test_stored_facts_are_written_as_they_were(name: str) -> None:
    written = [json.loads(msgspec.json.encode(fact)) for fact in replayed(name).pending]
    assert written == [event["fact"] for event in events if event["aggregate"] == name]


@pytest.mark.parametrize("name", aggregates)
def test_every_kind_of_fact_is_in_the_golden_file(name: str) -> None:
    facts = aggregates[name].facts
    kinds = {str(fact.__struct_config__.tag) for fact in get_args(facts) or (facts,)}
    golden = {event["fact"]["type"] for event in events if event["aggregate"] == name}
    assert kinds - golden <= {"workload.deleted"}, "which would end the history; it has no fields"


def test_a_workload_is_what_its_history_says() -> None:
    workload = replayed("workload")
    assert isinstance(workload, WorkloadHistory)
    assert (workload.version, workload.state.latest, workload.state.exists) == (21, 4, True)
    assert workload.state.states == {1: "ready", 3: "ready", 4: "building"}
    assert workload.state.aliases == {"live": [Weight(1, 1.0)]}
    assert workload.state.rollouts == {}, "both have ended"
    assert workload.same_as_latest("f4")


def test_a_snapshot_of_a_state_comes_back_as_it_was() -> None:
    for name, kind in aggregates.items():
        state = replayed(name).state
        assert msgspec.json.decode(msgspec.json.encode(state), type=kind.state_type) == state
