"""Workloads, revisions and aliases as their histories say.

A revision's configuration and its sealed environment are in no event: they are taken from the row that is there, as its
code is from the blobs. Its state, and all that says what is called how, follow from the history.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy.orm import Session

from isotherm.events.aggregate import Happened
from isotherm.events.rebuilding import Lost, ProjectedRoom, Row
from isotherm.events.service import EventLog
from isotherm.workloads import policy
from isotherm.workloads.history import RevisionDeployed, RevisionReady, WorkloadHistory
from isotherm.workloads.model import LIVE, RevisionRow
from isotherm.workloads.rollout_facts import RolloutFact, RolloutStarted
from isotherm.workloads.rollout_model import RolloutRow
from isotherm.workloads.rollout_rows import moved_row, started_row
from isotherm.workloads.rollout_store import rollouts, values_of
from isotherm.workloads.routes import route_of
from isotherm.workloads.settings_store import list_settings
from isotherm.workloads.store import aliases, revisions, secret_uses, workloads

__all__ = ["projected"]

_decode = msgspec.json.Decoder(RevisionRow).decode


def _rows(session: Session, log: EventLog) -> Iterator[Row | Lost]:
    for history, happened in log.histories(session, WorkloadHistory, "wl_"):
        if history.state.exists:
            yield from _workload(session, history, happened)


def _workload(session: Session, history: WorkloadHistory, happened: list[Happened]) -> Iterator[Row | Lost]:
    state = history.state
    there = _there(session, history.id)
    numbers = policy.callable_numbers(state.states, history.held())
    found = [_revision(history, number, happened, there, number in numbers) for number in sorted(state.ids)]
    bodies = {row[1]["number"]: _decode(row[1]["body"]) for row in found if not isinstance(row, Lost)}
    live = state.aliases.get(LIVE, [])
    lost = any(
        isinstance(row, Lost) and number in numbers for row, number in zip(found, sorted(state.ids), strict=True)
    )
    settings = list_settings(session, history.id)
    route = None if lost else route_of(history.id, state, numbers, bodies.__getitem__, settings)
    yield (
        workloads,
        {
            "id": history.id,
            "kind": state.kind,
            "namespace": state.namespace,
            "name": state.name,
            "version": history.version,
            "created_at_ms": happened[0].at_ms,
            "updated_at_ms": happened[-1].at_ms,
            "latest": state.latest,
            "live": msgspec.json.encode(live),
            "public": route is not None and route.public,
            "route": None if route is None else msgspec.json.encode(route),
        },
    )
    yield from found
    for found_row in found:
        if not isinstance(found_row, Lost):
            yield from _secret_uses(_decode(found_row[1]["body"]))
    for name, weights in state.aliases.items():
        yield aliases, {"workload_id": history.id, "name": name, "weights": msgspec.json.encode(weights)}
    for row, version in _rollouts(history, happened):
        yield rollouts, values_of(row, version)


def _rollouts(history: WorkloadHistory, happened: list[Happened]) -> list[tuple[RolloutRow, int]]:
    """With the versions of the history at which they started."""
    state = history.state
    found: dict[str, tuple[RolloutRow, int]] = {}
    for version, (fact, at_ms, by) in enumerate(happened, 1):
        if isinstance(fact, RolloutStarted):
            found[fact.rollout_id] = started_row(history.id, state.namespace, state.name, fact, by, at_ms), version
        elif isinstance(fact, RolloutFact) and fact.rollout_id in found:
            row, started = found[fact.rollout_id]
            found[fact.rollout_id] = moved_row(row, fact, at_ms), started
    return list(found.values())


def _secret_uses(revision: RevisionRow) -> Iterator[Row]:
    for secret in sorted(set(revision.spec.secrets.values())):
        yield (
            secret_uses,
            {"revision_id": revision.spec.id, "secret": secret, "namespace": revision.spec.namespace},
        )


def _there(session: Session, workload_id: str) -> dict[str, Any]:
    query = sqlalchemy.select(revisions.c.id, revisions.c.body, revisions.c.env)
    return {row.id: row for row in session.execute(query.where(revisions.c.workload_id == workload_id))}


def _revision(
    history: WorkloadHistory, number: int, happened: list[Happened], there: dict[str, Any], told: bool
) -> Row | Lost:
    revision_id = history.state.ids[number]
    row = there.get(revision_id)
    if row is None:
        return Lost(revisions, (revision_id,))
    state = history.state.states[number]
    body = msgspec.structs.replace(_decode(row.body), state=state, template=None, unfit=[])
    package = ""
    for fact, _, _ in happened:
        if isinstance(fact, RevisionDeployed) and fact.number == number:
            package = fact.package
            body = msgspec.structs.replace(body, fingerprint=fact.fingerprint)
        elif isinstance(fact, RevisionReady) and fact.number == number:
            body = msgspec.structs.replace(body, template=fact.template, unfit=fact.unfit)
    return revisions, {
        "id": revision_id,
        "workload_id": history.id,
        "number": number,
        "state": state,
        "callable": told,
        "package": package,
        "env": row.env,
        "body": msgspec.json.encode(body),
    }


projected = ProjectedRoom((workloads, revisions, aliases, secret_uses, rollouts), _rows)
