"""What follows an attempt: how its failure is written down, and the call of a destination. Pure."""

from datetime import UTC, datetime

from isotherm.base.errors import IsothermError
from isotherm.queue import policy
from isotherm.queue.model import AsyncCall, Outcome
from isotherm.wire.desired import RevisionSpec

__all__ = ["failure", "follow_up"]

MAX_TYPE, MAX_MESSAGE = 256, 1024


def failure(error: IsothermError, spec: RevisionSpec | None, condition: str) -> Outcome:
    """`condition` is empty where the call is tried again."""
    return Outcome(
        status=error.status,
        version="" if spec is None else str(spec.number),
        condition=condition,
        error_code=error.code,
        error_type=str(error.data.get("error_type") or error.code)[:MAX_TYPE],
        error_message=str(error.data.get("error_message") or error.message)[:MAX_MESSAGE],
    )


def follow_up(
    call: AsyncCall, spec: RevisionSpec, outcome: Outcome, *, call_id: str, now_ms: int, region: str
) -> AsyncCall | None:
    """The call of the destination that `outcome` has, as the revision that made `call` says; None: it has none."""
    rules = spec.asynchronous
    target = rules.on_success if outcome.condition == "Success" else rules.on_failure
    if target is None:
        return None
    name, _, qualifier = target.partition(":")
    arn = f"arn:aws:lambda:{region}:{call.namespace}:function:{call.name}"
    time_text = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return AsyncCall(
        id=call_id,
        namespace=call.namespace,
        name=name,
        qualifier=qualifier or None,
        source="destination",
        event=policy.destination_event(call, arn, outcome, time_text),
        accepted_at_ms=now_ms,
        due_at_ms=now_ms,
        hops=call.hops + 1,
        origin=call.id,
    )
