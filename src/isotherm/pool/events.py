"""The event of a call as it is kept, where its function asks for it: what the handler was called with, as JSON."""

import msgspec

from isotherm.pool.call import Call, UploadCall
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import MAX_EVENT_BYTES, Outcome, RecordedEvent
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.events import EventBuilder
from isotherm_runtime.frames import Flag

__all__ = ["recorded_event", "wants_event"]

UNRUN: frozenset[Outcome] = frozenset(("rejected",))  # it never reached the handler
_json = msgspec.json.Decoder(msgspec.Raw)


def wants_event(spec: RevisionSpec, outcome: Outcome) -> bool:
    """Whether the event of a call that ended so is to be kept."""
    if spec.record_events == "none" or outcome in UNRUN:
        return False
    return spec.record_events == "all" or outcome != "ok"


def recorded_event(spec: RevisionSpec, call: Call, at_ms: int) -> RecordedEvent | None:
    """None where it cannot be: a body that came in pieces is gone, what is too large or no JSON is not kept."""
    if isinstance(call, UploadCall) or len(call.body) > MAX_EVENT_BYTES:
        return None
    event = _of_url(spec, call) if call.flags & Flag.HTTP else call.body or b"{}"
    if event is None or len(event) > MAX_EVENT_BYTES:
        return None
    try:
        _json.decode(event)
    except msgspec.MsgspecError:
        return None
    return RecordedEvent(id=call.id, namespace=spec.namespace, name=spec.name, at_ms=at_ms, event=event)


def _of_url(spec: RevisionSpec, call: Call) -> bytes | None:
    """The event that the runtime makes of a URL's request."""
    arn = f"arn:aws:lambda::{spec.namespace}:function:{spec.name}"
    builder = EventBuilder(RuntimeConfig(handler=spec.handler, function_name=spec.name, function_arn=arn))
    try:
        return msgspec.json.encode(builder.build(call.head, call.body)[1])
    except (ValueError, TypeError, AttributeError):
        return None
