"""What an ERROR frame of an instance means to its caller. The frame is not trusted: typed, and cut to size."""

import msgspec

from isotherm.base.errors import (
    HandlerFailed,
    ImportFailed,
    InstanceCrashed,
    Invalid,
    InvalidResponse,
    IsothermError,
    TimedOut,
)
from isotherm.wire.telemetry import Outcome

__all__ = ["error_of", "outcome_of"]

MAX_TEXT = 16 * 1024
MAX_TRACE_LINES = 100


class ErrorHead(msgspec.Struct, frozen=True):
    kind: str
    error_type: str = ""
    error_message: str = ""
    stack_trace: list[str] = msgspec.field(default_factory=list)


decoder = msgspec.json.Decoder(ErrorHead)

kinds: dict[str, tuple[type[IsothermError], str]] = {
    "handler": (HandlerFailed, "the handler raised"),
    "import": (ImportFailed, "the handler could not be imported:"),
    "response": (InvalidResponse, "the handler's answer cannot be sent:"),
    "request": (Invalid, "the event is not valid JSON:"),
    "cancelled": (TimedOut, "the handler was cancelled at its time limit:"),
    "exit": (InstanceCrashed, "the handler ended its process:"),
    "internal": (InstanceCrashed, "the runtime failed:"),
}

outcomes: dict[str, Outcome] = {
    "handler_failed": "handler_error",
    "timed_out": "timeout",
    "out_of_memory": "out_of_memory",
    "instance_crashed": "crash",
    "import_failed": "import_error",
    "invalid_response": "invalid",
    "invalid": "invalid",
}


def error_of(head: bytes) -> IsothermError:
    """The error that an ERROR frame's head stands for."""
    try:
        fault = decoder.decode(head)
    except msgspec.MsgspecError as exc:
        return InstanceCrashed(f"the instance reported an error that cannot be read ({exc})")
    kind, text = kinds.get(fault.kind, (InstanceCrashed, "the instance reported:"))
    error_type, message = fault.error_type[:256], fault.error_message[:MAX_TEXT]
    named = f"{error_type}: {message}" if error_type and message else error_type or message
    return kind(
        f"{text} {named}".rstrip(": "),
        error_type=error_type,
        error_message=message,
        stack_trace=[line[:MAX_TEXT] for line in fault.stack_trace[:MAX_TRACE_LINES]],
    )


def outcome_of(error: IsothermError) -> Outcome:
    """How a call that failed with `error` is counted; what the platform itself turned away is `rejected`."""
    return outcomes.get(error.code, "rejected")
