"""Event source mappings: kept, changed and shown. Nothing reads their sources yet, and their state says so."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.base.errors import NotFound
from isotherm.functions.source_model import EventSource

__all__ = ["operations"]

operations = Operations("Event source mappings")
_kept = "Kept and shown in the state `Disabled`: nothing reads the source yet"
_gone = "The resource you requested does not exist."
_own = ("FunctionName", "EventSourceArn", "Enabled", "UUID")
# What is shown where nothing was said, by the service in the source's ARN.
_defaults: dict[str, dict[str, Any]] = {
    "sqs": {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0},
    "kinesis": {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1},
    "dynamodb": {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1},
    "kafka": {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 0},
    "mq": {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 0},
}
_streams = ("kinesis", "dynamodb")
_stream_defaults: dict[str, Any] = {
    "MaximumRecordAgeInSeconds": -1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "TumblingWindowInSeconds": 0,
    "DestinationConfig": {"OnFailure": {}},
    "LastProcessingResult": "No records processed",
}


@operations.add("CreateEventSourceMapping", "functions.deploy", state="stored", note=_kept)
def create_event_source_mapping(call: Call) -> dict[str, Any]:
    ref = call.parsed(call.text("FunctionName"))
    source = call.text("EventSourceArn")
    if not source and not call.given.get("SelfManagedEventSource"):
        raise AwsError("InvalidParameterValueException", "Unrecognized event source.")
    service = _service(source)
    if service in _streams and not call.given.get("StartingPosition"):
        raise AwsError(
            "InvalidParameterValueException",
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must "
            "not be null.",
        )
    call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)

    def check(there: list[EventSource]) -> None:
        same = [each for each in there if each.source == source and each.qualifier == ref.qualifier and source]
        if same:
            raise AwsError(
                "ResourceConflictException",
                f'The event source arn (" {source} ") and function (" {ref.name} ") provided mapping already exists. '
                f"Please update or delete the existing mapping with UUID {same[0].id}",
                409,
            )

    made = call.services.sources.create(
        call.principal,
        ref.namespace,
        ref.name,
        ref.qualifier,
        source=source,
        enabled=call.given.get("Enabled", True),
        values=_values(call),
        check=check,
    )
    return _shown(call, made, "Creating")


@operations.add("GetEventSourceMapping", "functions.read", state="stored", note=_kept)
def get_event_source_mapping(call: Call) -> dict[str, Any]:
    try:
        return _shown(call, call.services.sources.get(call.principal, call.text("UUID")))
    except NotFound as exc:
        raise AwsError("ResourceNotFoundException", _gone, 404) from exc


@operations.add("ListEventSourceMappings", "functions.read", state="stored", note=_kept)
def list_event_source_mappings(call: Call) -> dict[str, Any]:
    size, after = size_of(call.given.get("MaxItems"), 100), position_of(call.given.get("Marker"))
    ref = call.parsed(call.text("FunctionName")) if call.given.get("FunctionName") else None
    found = call.services.sources.page(
        call.principal,
        call.home if ref is None else ref.namespace,
        function=None if ref is None else ref.name,
        source=call.given.get("EventSourceArn"),
        after=after,
        limit=size + 1,
    )
    answer: dict[str, Any] = {"EventSourceMappings": [_shown(call, each) for each in found[:size]]}
    if len(found) > size:
        answer["NextMarker"] = marker_of(found[size - 1].id)
    return answer


@operations.add("UpdateEventSourceMapping", "functions.deploy", state="stored", note=_kept)
def update_event_source_mapping(call: Call) -> dict[str, Any]:
    ref = call.parsed(call.text("FunctionName")) if call.given.get("FunctionName") else None
    if ref is not None:
        call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)

    def change(source: EventSource) -> EventSource:
        values: dict[str, Any] = {"values": source.values | _values(call)}
        if ref is not None and ref.namespace != source.namespace:
            raise AwsError(
                "InvalidParameterValueException", "A mapping stays in its namespace; make another one for this function"
            )
        if ref is not None:
            values |= {"function": ref.name, "qualifier": ref.qualifier}
        if "Enabled" in call.given:
            values["enabled"] = call.given["Enabled"]
        return msgspec.structs.replace(source, **values)

    return _changed(call, change, "Updating")


@operations.add("DeleteEventSourceMapping", "functions.deploy", state="stored", note=_kept)
def delete_event_source_mapping(call: Call) -> dict[str, Any]:
    return _changed(call, lambda _source: None, "Deleting")


def _changed(call: Call, change: Any, state: str) -> dict[str, Any]:
    try:
        return _shown(call, call.services.sources.change(call.principal, call.text("UUID"), change), state)
    except NotFound as exc:
        raise AwsError("ResourceNotFoundException", _gone, 404) from exc


def _values(call: Call) -> dict[str, Any]:
    """What is kept as it came; times as text."""
    given = {name: value for name, value in call.given.items() if name not in _own}
    at = given.get("StartingPositionTimestamp")
    if isinstance(at, datetime):
        given["StartingPositionTimestamp"] = at.astimezone(UTC).isoformat()
    return given


def _service(source: str) -> str:
    parts = source.split(":")
    return parts[2] if len(parts) > 2 else ""


def _asked_by(service: str) -> str:
    """What AWS says of a state that a user asked for."""
    return "User action" if service in _streams else "USER_INITIATED"


def _shown(call: Call, source: EventSource, state: str | None = None) -> dict[str, Any]:
    service = _service(source.source)
    shown: dict[str, Any] = dict(_defaults.get(service, {}))
    if service == "sqs" or service in _streams:
        shown["FunctionResponseTypes"] = []
    if service in _streams:
        shown |= _stream_defaults
    shown |= {name: value for name, value in source.values.items() if name != "Tags"}
    at = shown.get("StartingPositionTimestamp")
    if isinstance(at, str):
        shown["StartingPositionTimestamp"] = datetime.fromisoformat(at)
    return (
        shown
        | {
            "UUID": source.id,
            "EventSourceMappingArn": call.names.event_source(source.namespace, source.id),
            "FunctionArn": call.names.function(source.namespace, source.function, source.qualifier),
            "LastModified": datetime.fromtimestamp(source.updated_at_ms / 1000, UTC),
            "State": state or "Disabled",
            "StateTransitionReason": _asked_by(service)
            if state is not None
            else (
                f"This platform does not read from {service or 'such'} sources yet; the mapping is kept"
                if source.enabled
                else _asked_by(service)
            ),
        }
        | ({"EventSourceArn": source.source} if source.source else {})
    )
