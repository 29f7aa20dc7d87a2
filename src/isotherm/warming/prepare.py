"""`python -m isotherm.warming.prepare`: compile ahead what the live policy runs, in a process of its own.

It takes some seconds of CPU time, once for each release; in the control process they would hold up its answers.
"""

import os

from isotherm.base.parent import end_with_parent
from isotherm.warming.drivers.cache import note_filled, wants_filling
from isotherm.warming.service import Options, Warming
from isotherm.wire.desired import AliasSpec, Desired, Item, RevisionSpec, RouteSpec
from isotherm.wire.telemetry import Batch, MinuteAggregate

__all__ = ["prepare"]

MINUTE_MS = 60_000


def prepare() -> None:
    """Play an hour of one workload, so that each loop is compiled for what it is called with."""
    if not wants_filling():
        return
    warming = Warming(Options())
    spec = RevisionSpec(id="r", workload_id="w", namespace="n", name="f", number=1, runtime="", handler="", package="")
    route = RouteSpec(workload_id="w", namespace="n", name="f", aliases=[AliasSpec("live", [("r", 1.0)])])
    items = [Item(revision=spec), Item(route=route)]
    warming.apply(Desired(epoch="", version=1, full=True, items=items))
    warming.restore(0.0, [])
    for minute in range(60):
        begin_ms = minute * MINUTE_MS
        warming.turn(begin_ms + 5_000)
        for second in (20, 56) if minute % 9 == 0 else ():
            warming.take(_called(begin_ms + second * 1000), begin_ms + second * 1000)
            warming.turn(begin_ms + 52_000)
    note_filled()


def _called(at_ms: int) -> Batch:
    one = MinuteAggregate(
        namespace="n", name="f", revision_id="r", minute=at_ms // MINUTE_MS, count=1, outcomes={}, cold={}, latency=[],
        total_ms=1.0, run_ms=1.0, queue_ms=0.0,
    )  # fmt: skip
    return Batch(host_id="", boot_id="", sequence=0, sent_at_ms=at_ms, minutes=[one])


if __name__ == "__main__":
    end_with_parent()
    os.nice(10)
    prepare()
