"""Decisions about queued calls, pure: what a failure means, how long to wait, what a destination is told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from isotherm.queue.model import AsyncCall, Outcome
from isotherm.wire.desired import AsyncSpec

__all__ = [
    "Due",
    "Verdict",
    "backoff_ms",
    "destination_event",
    "due_times",
    "judge",
    "scheduled_event",
    "throttle_ms",
]

PASSING = frozenset(("too_many_requests", "unavailable", "not_isolated"))  # the platform's fault, not the function's
HOPELESS = frozenset(("not_found", "invalid"))  # the function is gone, or the event is no event: no retry would help
MAX_THROTTLE_MS = 30_000.0
LATE_MS = 60_000  # a due time is missed where nobody looked at it for this long
MAX_MISSED = 100  # missed times that `all` makes up for
MAX_STEPS = 100_000  # due times that are counted, of a schedule that slept for long


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


@dataclass(frozen=True, slots=True)
class Due:
    """Times of a schedule to call for, how many missed ones are dropped, and where the schedule stands after that."""

    times_ms: list[int]
    dropped: int
    position_ms: int
    next_ms: int | None


def due_times(
    following: Callable[[int], int | None], position_ms: int, now_ms: int, missed: Literal["skip", "once", "all"]
) -> Due:
    """The times in (position, now]. Those older than a minute were missed: nobody was there to see them.

    skip: missed ones are dropped. once: the last of the missed ones is made up for. all: up to 100 of them, the latest.
    """
    times: list[int] = []
    at_ms = following(position_ms)
    while at_ms is not None and at_ms <= now_ms and len(times) < MAX_STEPS:
        times.append(at_ms)
        at_ms = following(at_ms)
    if len(times) == MAX_STEPS:  # years of minutes: go on from now
        at_ms = following(now_ms)
    late = [time for time in times if now_ms - time > LATE_MS]
    kept = {"skip": 0, "once": 1, "all": MAX_MISSED}[missed]
    chosen = late[len(late) - min(kept, len(late)) :] + times[len(late) :]
    return Due(chosen, len(late) - min(kept, len(late)), times[-1] if times else position_ms, at_ms)


def scheduled_event(namespace: str, name: str, trigger: str, call_id: str, at_ms: int, region: str) -> dict[str, Any]:
    """What a schedule without an event of its own calls with: the fields of EventBridge's scheduled events."""
    return {
        "version": "0",
        "id": call_id,
        "detail-type": "Scheduled Event",
        "source": "isotherm.cron",
        "account": namespace,
        "time": datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [f"{name}/{trigger}"],
        "detail": {},
    }
