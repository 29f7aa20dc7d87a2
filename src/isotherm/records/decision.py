"""Why a revision did not wait warm, from the receipt of the last decision about it before a cold start. Pure."""

from typing import Final

from isotherm.prices.machines import MachinePrice
from isotherm.records.model import Decision
from isotherm.warming.receipt import Reason, Receipt, RungName
from isotherm.warming.view import PolicyName
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import InvocationRecord

__all__ = ["decision"]

_worth: Final = "the odds of a call were worth its memory at the price of the moment"
_why: Final[dict[Reason, str]] = {
    "forecast": "the odds of a call were not worth its memory at the price of the moment",
    "called": "it had been called a moment before",
    "cron": "that is what its schedules asked for",
    "peak": "so many calls at once were to be reckoned with",
    "budget": "the budget was spent, or the memory of the host",
    "settings": "its configuration said so, or it was new",
}
_waits: Final[dict[RungName, str]] = {"cold": "cold", "frozen": "as a frozen template", "template": "as a template"}


def decision(
    record: InvocationRecord,
    receipt: Receipt | None,
    spec: RevisionSpec | None,
    price: MachinePrice,
    warming: PolicyName,
) -> Decision:
    """`record` is a cold call, `receipt` the last about its revision before it. `spec` None: the revision is gone; then
    costs are not known. `warming`: who decides on this platform.

    The instance that would have spared the start is taken to hold its whole memory limit, as it does in the costs of
    calls, so what is told is the most that it can have cost.
    """
    if receipt is None:
        return Decision(summary=_nothing_kept(spec, warming), receipt=None, waited_ms=record.start_ms)
    before_s = max(0.0, (record.started_at_ms - receipt.at_ms) / 1000)
    gb_s = None if spec is None else spec.memory_mb / 1024 * before_s
    usd = None if gb_s is None else gb_s * price.usd_per_gb_s
    forecast = f"{100 * receipt.expected:.3g} %, with {receipt.calls:.3g} calls on the mean"
    chosen, former = _waiting(receipt.rung, receipt.instances), _waiting(receipt.former_rung, receipt.former_instances)
    cost = f"One GB·minute of idle memory had to avoid {receipt.price:.3g} cold starts then"
    parts = [
        f"{_span(before_s)} before the call the policy put the probability of a call within the minute at {forecast}",
        f"It let the revision wait {chosen} (before: {former}), because {_because(receipt)}",
        f"{cost}; the budget was {receipt.budget}",
    ]
    if receipt.again_ms is not None:
        parts.append(f"It was to be warm again {_when(receipt.again_ms, record.started_at_ms)}")
    waited = f"the call waited {record.start_ms:.1f} ms for its start instead"
    if gb_s is not None:
        parts.append(
            f"To keep one instance more warm from then until the call would have cost at most {gb_s:.3g} GB·s, "
            f"${usd:.2g}; {waited}"
        )
    else:
        parts.append(f"The revision is gone, so what an instance would have cost is not known; {waited}")
    summary = ". ".join(parts) + "."
    return Decision(summary=summary, receipt=receipt, waited_ms=record.start_ms, kept_gb_s=gb_s, kept_usd=usd)


def _nothing_kept(spec: RevisionSpec | None, warming: PolicyName) -> str:
    if warming == "keep_alive":
        return (
            "No policy decides here what waits warm: the setting warming is keep_alive, so all go by their keep-alives."
        )
    if spec is not None and spec.warm.policy == "keep_alive":
        return 'No policy decides about this function: its warm.policy is "keep_alive".'
    return (
        "No decision about this revision from before the call is kept: the policy had not planned for it yet, or the "
        "receipt has aged out (settings receipt_days and receipt_limit)."
    )


def _because(receipt: Receipt) -> str:
    if receipt.reason == "forecast" and receipt.rung != "cold":
        return _worth
    return _why[receipt.reason]


def _waiting(rung: RungName, instances: int) -> str:
    if rung != "warm":
        return _waits[rung]
    return f"warm with {instances} instance{'' if instances == 1 else 's'}"


def _when(at_ms: int, call_ms: int) -> str:
    apart_s = abs(at_ms - call_ms) / 1000
    return f"{_span(apart_s)} {'after' if at_ms > call_ms else 'before'} this call"


def _span(seconds: float) -> str:
    for unit, length_s in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.1f} s"
