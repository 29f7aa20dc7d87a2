"""What the policy thinks now, in the words of the API."""

import numpy

from isotherm.base.errors import Invalid
from isotherm.warming.catalog import Entry
from isotherm.warming.deciding import RUNG_NAMES
from isotherm.warming.service import Warming
from isotherm.warming.view import WarmthSummary, WarmthView

__all__ = ["summary_of", "view_of"]

BY_KEEP_ALIVE = "its configuration says so: warm.policy is keep_alive, or it is under development"
FRESH = "it was deployed and not called since: what its deploy has made ready waits for a first call"
MOVED = "a rollout moves it: what that has made ready stays until it is over"
BY_FORESIGHT = "the learned policy decides about all that has no warm.policy of its own"
LEARNED = "the learned policy decides"


def view_of(warming: Warming, namespace: str, name: str) -> WarmthView | None:
    """Of a workload that can be called; None where there is none of that name."""
    entry = warming.catalog.by_key.get((namespace, name))
    if entry is None or entry.row >= len(warming.calls_mean):  # not known, or only just
        return None
    if entry.steered:
        return _view(warming, entry)
    why = MOVED if entry.route.standby else BY_KEEP_ALIVE if entry.fresh_until is None else FRESH
    return WarmthView(namespace=namespace, name=name, policy="keep_alive", why=why, at_ms=warming.at_ms)


def summary_of(warming: Warming) -> WarmthSummary:
    """Of all together."""
    rungs = numpy.array([warming.policy.rung[entry.row] for entry in warming.catalog if entry.steered], int)
    return WarmthSummary(
        policy="foresight",
        why=BY_FORESIGHT,
        at_ms=warming.at_ms,
        minute_s=warming.options.minute_s,
        workloads={RUNG_NAMES[int(rung)]: int((rungs == rung).sum()) for rung in numpy.unique(rungs)},
        idle_gb=float(warming.policy.held_gb),
        spent_gb_h=warming.spent_gb_h,
        budget=warming.book.text(0),
        price=warming.policy.price,
        avoided=warming.avoided,
        quality=warming.quality(),
    )


def _view(warming: Warming, entry: Entry) -> WarmthView:
    row, policy = entry.row, warming.policy
    group = int(policy.groups.of[row])
    namespace, name = entry.key
    try:
        quality = warming.quality(f"{namespace}/{name}")
    except Invalid:  # too seldom called to be forecast by itself
        quality = {}
    return WarmthView(
        namespace=namespace,
        name=name,
        policy="foresight",
        why=LEARNED,
        at_ms=warming.at_ms,
        budget=warming.book.text(group),
        price=float(policy.prices.shadow[group]),
        expected=float(policy.probability[row]),
        calls_mean=float(max(warming.calls_mean[row], policy.probability[row])),
        calls_high=float(warming.calls_high[row]) or None,
        rung=RUNG_NAMES[int(policy.rung[row])],
        instances=int(warming.decisions.instances[row]),
        again_ms=entry.next_due(warming.at_ms) if entry.schedules and warming.at_ms is not None else None,
        quality=quality,
    )
