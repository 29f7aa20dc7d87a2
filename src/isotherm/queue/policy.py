"""Decisions about queued calls, pure: what a failure means, how long to wait, what a destination is told."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from isotherm.queue.model import AsyncCall, Outcome
from isotherm.wire.desired import AsyncSpec

__all__ = ["Verdict", "backoff_ms", "destination_event", "judge", "throttle_ms"]

PASSING = frozenset(("too_many_requests", "unavailable", "not_isolated"))  # the platform's fault, not the function's
HOPELESS = frozenset(("not_found", "invalid"))  # the function is gone, or the event is no event: no retry would help
MAX_THROTTLE_MS = 30_000.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call whose attempt failed. `wait_ms` is for `retry` and `again`."""

    action: Literal["retry", "again", "dead"]
    wait_ms: int = 0
    condition: str = ""


def judge(code: str, attempts: int, age_ms: int, rules: AsyncSpec, spread: float) -> Verdict:
    """`code` of the error of an attempt, `attempts` failed ones with it, `age_ms` since the call was accepted.

    `again`: it did not count. `spread` is a random number in [0, 1).
    """
    if code in HOPELESS:
        return Verdict("dead", condition="Undeliverable")
    if age_ms >= rules.max_age_s * 1000:
        return Verdict("dead", condition="EventAgeExceeded")
    if code in PASSING:
        return Verdict("again")
    if attempts > rules.retries:
        return Verdict("dead", condition="RetriesExhausted")
    return Verdict("retry", wait_ms=backoff_ms(attempts, rules, spread))


def backoff_ms(attempts: int, rules: AsyncSpec, spread: float) -> int:
    """Exponential with equal jitter: half of the wait is certain, half is random.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    full = min(rules.max_retry_delay_s, rules.retry_delay_s * 2.0 ** min(max(0, attempts - 1), 40)) * 1000.0
    return round(full * (0.5 + spread / 2))


def throttle_ms(refusals: int, spread: float) -> int:
    """How long a function that has no room is left alone: 50 ms, doubled with each refusal in a row up to 30 s."""
    return round(min(MAX_THROTTLE_MS, 50.0 * 2.0 ** min(refusals, 20)) * (0.5 + spread / 2))


def destination_event(call: AsyncCall, arn: str, outcome: Outcome, time_text: str) -> bytes:
    """What a destination's function gets: the fields of Lambda's destination records, version 1.0."""
    failed = outcome.condition != "Success"
    response: dict[str, Any] = {"statusCode": outcome.status, "executedVersion": outcome.version or "$LATEST"}
    payload: Any = None if outcome.result is None else msgspec.Raw(outcome.result)
    if failed:
        response["functionError"] = "Unhandled"
        payload = {"errorType": outcome.error_type or outcome.error_code, "errorMessage": outcome.error_message}
    return msgspec.json.encode(
        {
            "version": "1.0",
            "timestamp": time_text,
            "requestContext": {
                "requestId": call.id,
                "functionArn": arn,
                "condition": outcome.condition,
                "approximateInvokeCount": call.attempts + (0 if failed else 1),
            },
            "requestPayload": msgspec.Raw(call.event or b"null"),
            "responseContext": response,
            "responsePayload": payload,
        }
    )
