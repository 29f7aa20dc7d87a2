"""Decisions about records: how aggregates add up, and how a call is explained. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from isotherm.prices.machines import MachinePrice
from isotherm.records.model import Decision, Explanation, Minute, Phase, Remedy
from isotherm.wire.desired import RevisionSpec, WarmSpec
from isotherm.wire.telemetry import ColdCause, InvocationRecord, MinuteAggregate

__all__ = ["explain", "merge_minutes", "minute_of", "over_log_quota"]


def merge_minutes(aggregates: Iterable[MinuteAggregate]) -> list[MinuteAggregate]:
    """One per revision and minute, with the sums; in order of first appearance."""
    merged: dict[tuple[str, int], MinuteAggregate] = {}
    for one in aggregates:
        key = (one.revision_id, one.minute)
        merged[key] = _sum(merged[key], one) if key in merged else one
    return list(merged.values())


def minute_of(one: MinuteAggregate) -> Minute:
    """What callers are told of it."""
    return Minute(
        name=one.name,
        revision_id=one.revision_id,
        minute=one.minute,
        count=one.count,
        cold=sum(one.cold.values()),
        errors=one.count - one.outcomes.get("ok", 0),
        run_ms=one.run_ms,
    )


def over_log_quota(kept: Mapping[str, int], own: Mapping[str, int], other: int | None) -> list[tuple[str, int]]:
    """`(namespace, bytes)` of those that keep more than their own limit, or that of all others; the worst first."""
    over = [(name, size - limit) for name, size in kept.items() if (limit := own.get(name, other)) is not None]
    return sorted(((name, size) for name, size in over if size > 0), key=lambda entry: -entry[1])


def _sum(one: MinuteAggregate, other: MinuteAggregate) -> MinuteAggregate:
    wide = max(len(one.latency), len(other.latency))  # another version may have had other buckets
    padded = [latency + [0] * (wide - len(latency)) for latency in (one.latency, other.latency)]
    return msgspec.structs.replace(
        one,
        count=one.count + other.count,
        outcomes=dict(Counter(one.outcomes) + Counter(other.outcomes)),
        cold=dict(Counter(one.cold) + Counter(other.cold)),
        latency=[a + b for a, b in zip(*padded, strict=True)],
        total_ms=one.total_ms + other.total_ms,
        run_ms=one.run_ms + other.run_ms,
        queue_ms=one.queue_ms + other.queue_ms,
        request_bytes=one.request_bytes + other.request_bytes,
        response_bytes=one.response_bytes + other.response_bytes,
    )


_why_cold: Final[dict[ColdCause, str]] = {
    "first": "the revision had neither a template nor an instance: its code was imported, then an instance was made",
    "template": "no instance was idle and no spare was parked: one was forked from the template while the call waited",
    "spare": "no instance was idle; a parked spare took the call",
    "scale_out": "all instances were busy: another one was started for this call",
    "evicted": "the last instance had been evicted, since the host was short of memory",
    "expired": "the last instance had been idle for longer than its keep-alive, and was let go",
    "let_go": "the warming policy had not kept the last instance: it did not expect a call then",
    "replaced": "the last instance had crashed, hung or run out of memory, and had to be replaced",
}

_outcomes: Final[dict[str, str]] = {
    "ok": "It was answered",
    "handler_error": "The handler raised an exception",
    "timeout": "It ran longer than its time limit",
    "out_of_memory": "Its instance ran out of memory",
    "crash": "Its instance ended during the call",
    "rejected": "It was turned away at a limit",
    "import_error": "The handler could not be imported",
    "invalid": "It was not a valid call, or its answer was not valid",
}


SPANS = frozenset(("total", "keeper"))  # of a start's steps: each holds others


def explain(
    record: InvocationRecord, spec: RevisionSpec | None, price: MachinePrice, decided: Decision | None = None
) -> Explanation:
    """`spec` None: the revision is gone; then settings and costs are not known. `decided`: why it did not wait warm."""
    cold = None if record.cold_cause is None else _why_cold[record.cold_cause]
    gb = None if spec is None else spec.memory_mb / 1024
    held_s = (record.start_ms + record.run_ms) / 1000
    return Explanation(
        invocation=record,
        summary=_summary(record, cold),
        cold=cold,
        phases=_phases(record),
        start_steps_ms=dict(sorted(record.start_steps_ms.items(), key=lambda step: -step[1])),
        remedies=_remedies(record, spec),
        gb_s=None if gb is None else gb * held_s,
        cost_usd=None if gb is None else gb * held_s * price.usd_per_gb_s,
        cold_cost_usd=None if gb is None else gb * record.start_ms / 1000 * price.usd_per_gb_s,
        price=f"{price.name}: {price.usd_per_hour} USD an hour for {price.memory_gb:g} GB, {price.as_of.isoformat()}",
        decision=decided,
    )


def _summary(record: InvocationRecord, cold: str | None) -> str:
    parts = [f"{_outcomes[record.outcome]} after {record.total_ms:.1f} ms, {'warm' if cold is None else 'cold'}"]
    if cold is not None:
        parts.append(cold[0].upper() + cold[1:])
    if record.error_message:
        parts.append(f"{record.error_type}: {record.error_message}".rstrip("."))
    steps = {name: took_ms for name, took_ms in record.start_steps_ms.items() if name not in SPANS}
    if steps:
        step, took_ms = max(steps.items(), key=lambda one: one[1])
        parts.append(f"The longest part of the start was {step.replace('_', ' ')}: {took_ms:.1f} ms")
    return ". ".join(parts) + "."


def _phases(record: InvocationRecord) -> list[Phase]:
    total_ms = max(record.total_ms, 0.001)
    other_ms = max(0.0, record.total_ms - record.queue_ms - record.start_ms - record.run_ms)
    all_phases = (
        ("queue", record.queue_ms, "waited for an instance that was free, or for a place"),
        ("start", record.start_ms, _taken_by(record)),
        ("run", record.run_ms, "the handler ran"),
        ("other", other_ms, "the platform read, routed and answered"),
    )
    return [
        Phase(name=name, ms=ms, share=min(1.0, ms / total_ms), what=what)  # type: ignore[arg-type]  # literals above
        for name, ms, what in all_phases
    ]


def _taken_by(record: InvocationRecord) -> str:
    if record.start_ms:
        return "an instance was started for it"
    return "a parked spare took it" if record.cold_cause == "spare" else "an idle instance took it"


def _remedies(record: InvocationRecord, spec: RevisionSpec | None) -> list[Remedy]:
    found = [*_of_cold(record, spec), *_of_queue(record, spec), *_of_outcome(record, spec)]
    return list({remedy.setting: remedy for remedy in reversed(found)}.values())[::-1]  # the first of each setting


def _of_cold(record: InvocationRecord, spec: RevisionSpec | None) -> list[Remedy]:
    warm = None if spec is None else spec.warm
    match record.cold_cause:
        case "first":
            return [_keep_one(warm), _longer_template(warm)]
        case "template":
            return [_more_spares(warm), _keep_one(warm)]
        case "spare":
            return [*_warm_event(warm), _keep_one(warm)]
        case "scale_out":
            return [_more_spares(warm), *_concurrency(spec)]
        case "evicted":
            return [_keep_one(warm), _less_memory(spec)]
        case "expired":
            return [_longer_keep_alive(warm), _keep_one(warm)]
        case "let_go":
            return [_keep_one(warm)]
        case "replaced":
            return [_more_spares(warm)]
        case None:
            return []


def _of_queue(record: InvocationRecord, spec: RevisionSpec | None) -> list[Remedy]:
    if record.queue_ms < 0.5 * record.total_ms or record.queue_ms < 1 or record.cold_cause == "first":
        return []
    now = None if spec is None else spec.warm.max_instances
    why = "it waited for longer than it ran: more instances, or more calls in each, would have taken it sooner"
    return [
        Remedy(setting="warm.max_instances", now=now, proposed=None if now is None else now * 2, why=why),
        *_concurrency(spec),
    ]


def _of_outcome(record: InvocationRecord, spec: RevisionSpec | None) -> list[Remedy]:
    if record.outcome == "timeout":
        now: Any = None if spec is None else spec.timeout_s
        why = "the handler was still running at its time limit"
        return [Remedy(setting="timeout_s", now=now, proposed=None if now is None else now * 2, why=why)]
    if record.outcome == "out_of_memory":
        now = None if spec is None else spec.memory_mb
        why = "the instance needed more memory than its limit"
        return [Remedy(setting="memory_mb", now=now, proposed=None if now is None else now * 2, why=why)]
    return []


def _keep_one(warm: WarmSpec | None) -> Remedy:
    now = None if warm is None else warm.min_instances
    why = "an instance that is kept even when idle would have taken it"
    return Remedy(setting="warm.min_instances", now=now, proposed=(now or 0) + 1, why=why)


def _more_spares(warm: WarmSpec | None) -> Remedy:
    now = None if warm is None else warm.spare
    why = "a spare, forked ahead and parked beside the template, would have taken it"
    return Remedy(setting="warm.spare", now=now, proposed=(now or 0) + 1, why=why)


def _longer_template(warm: WarmSpec | None) -> Remedy:
    now = None if warm is None else warm.template_keep_alive_s
    why = "a template that is still there needs no import; after a restart of the host there is none"
    return Remedy(setting="warm.template_keep_alive_s", now=now, proposed=None if now is None else now * 2, why=why)


def _longer_keep_alive(warm: WarmSpec | None) -> Remedy:
    now = None if warm is None else warm.keep_alive_s
    why = "an instance that is kept for longer would still have been there"
    return Remedy(setting="warm.keep_alive_s", now=now, proposed=None if now is None else now * 2, why=why)


def _warm_event(warm: WarmSpec | None) -> list[Remedy]:
    if warm is not None and warm.warm_event is not None:
        return []
    why = "an event that the handler may be called with ahead of traffic warms a spare's caches before it is needed"
    return [Remedy(setting="warm.warm_event", now=None, proposed=None, why=why)]


def _concurrency(spec: RevisionSpec | None) -> list[Remedy]:
    now = None if spec is None else spec.concurrency
    why = "where the handler mostly waits for others, one instance can take several calls at once"
    return [Remedy(setting="concurrency", now=now, proposed=None if now is None else now * 2, why=why)]


def _less_memory(spec: RevisionSpec | None) -> Remedy:
    now = None if spec is None else spec.memory_mb
    why = "smaller instances leave room for more of them; or give the host more memory"
    return Remedy(setting="memory_mb", now=now, proposed=None, why=why)
