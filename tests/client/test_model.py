"""The client's types have what the platform's have, and ask for nothing that it may leave out."""

from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from isotherm.api import schemas
from isotherm.bus.progress import Finished, ProgressStep
from isotherm.client import model, records, warmth
from isotherm.events.model import Entry
from isotherm.events.verifying import Broken, Head, Verdict
from isotherm.functions import model as functions
from isotherm.records import model as explained
from isotherm.tenancy import model as tenancy
from isotherm.warming import receipt, view
from isotherm.wire import queue, telemetry
from isotherm.workloads import model as workloads
from isotherm.workloads import rollout_model as rollouts

PAIRS = [
    (model.Alias, functions.Alias),
    (model.CallDetail, queue.CallDetail),
    (model.Function, schemas.FunctionView),
    (model.Grant, tenancy.Grant),
    (model.Invitation, tenancy.Invitation),
    (model.Key, schemas.CreatedKey),
    (model.LogLine, telemetry.LogLine),
    (model.Me, schemas.Me),
    (model.Member, tenancy.Member),
    (model.Namespace, tenancy.Namespace),
    (model.Package, functions.Package),
    (model.Progress, ProgressStep),
    (model.Progress, Finished),
    (model.Pruned, functions.Pruned),
    (model.QueueChanged, queue.QueueChanged),
    (model.QueueOverview, queue.QueueOverview),
    (model.QueueState, queue.QueueState),
    (model.QueuedCall, queue.QueuedCall),
    (model.Quota, schemas.QuotaView),
    (model.Reading, rollouts.Reading),
    (model.Revision, functions.Revision),
    (model.Rollout, schemas.Rollout),
    (model.Sample, rollouts.Sample),
    (model.Secret, tenancy.Secret),
    (model.TokenKey, schemas.TokenKeyAnswer),
    (model.State, telemetry.WorkloadState),
    (model.Tokens, tenancy.Tokens),
    (model.Trigger, functions.Trigger),
    (model.User, tenancy.User),
    (model.Weight, workloads.Weight),
    (records.Broken, Broken),
    (records.Counts, schemas.Counts),
    (records.Decision, explained.Decision),
    (records.Entry, Entry),
    (records.Explanation, explained.Explanation),
    (records.Head, Head),
    (records.Host, schemas.HostView),
    (records.HostSummary, schemas.HostSummary),
    (records.Invocation, telemetry.InvocationRecord),
    (records.Minute, explained.Minute),
    (records.Phase, explained.Phase),
    (records.Remedy, explained.Remedy),
    (records.Status, schemas.Status),
    (records.Verdict, Verdict),
    (warmth.Alternative, receipt.Alternative),
    (warmth.Receipt, receipt.Receipt),
    (warmth.Warmth, view.WarmthView),
    (warmth.WarmthSummary, view.WarmthSummary),
]
OWN = {model.Answer, model.Deployed, model.Page}  # made by the client


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_type_has_the_platforms_fields(ours: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    names = {field.name for field in msgspec.structs.fields(theirs)}
    fields = {field.name: field for field in msgspec.structs.fields(ours)}
    assert names - fields.keys() == set()
    needed = {name for name, field in fields.items() if field.required}
    assert needed - names == set()


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_what_the_platform_writes_is_read(ours: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    value = theirs(**{name: example(kind) for name, kind in get_type_hints(theirs, include_extras=True).items()})
    written = msgspec.to_builtins(value)
    read = msgspec.to_builtins(msgspec.json.decode(msgspec.json.encode(written | {"of_a_newer_one": 1}), type=ours))
    assert {name: read[name] for name in written if not isinstance(written[name], (dict, list))} == {
        name: each for name, each in written.items() if not isinstance(each, (dict, list))
    }


def test_every_type_of_the_client_is_compared() -> None:
    ours = {getattr(module, name) for module in (model, records, warmth) for name in module.__all__}
    assert ours - OWN == {pair[0] for pair in PAIRS}


def example(kind: Any) -> Any:
    """Some value of a type."""
    while hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return kind(
            **{field.name: example(hints[field.name]) for field in msgspec.structs.fields(kind) if field.required}
        )
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in (list, tuple):
        return get_origin(kind)([example(get_args(kind)[0])])
    if get_origin(kind) is dict:
        return {"a": example(get_args(kind)[1])}
    if get_args(kind):  # a union: its first member
        return example(get_args(kind)[0])
    return {str: "a" * 64, int: 1, float: 1.5, bool: True, Any: {"a": 1}}[kind]
