"""What went out of the revisions of this host: totals by function for the metrics, lines for the functions' logs."""

from dataclasses import dataclass, field

from isotherm.pool.outcome import Outcomes
from isotherm.sandbox.model import EgressReport
from isotherm.wire.desired import RevisionSpec

__all__ = ["EgressBook", "EgressTotals"]

WRITER = "egress"  # stands for an instance in log lines: those of a revision share a network


@dataclass(slots=True)
class EgressTotals:
    """Since the host's start; `open` by who told it, as last told."""

    opened: int = 0
    refused: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    open: dict[object, int] = field(default_factory=dict)


class EgressBook:
    """One per pool. Holds those functions alone that sent anything, or tried to."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self.totals: dict[tuple[str, str], EgressTotals] = {}

    def take(self, source: object, spec: RevisionSpec, report: EgressReport) -> None:
        """`source` stands for the one template that reports: of a revision there may be two, one after the other."""
        totals = self.totals.setdefault((spec.namespace, spec.name), EgressTotals())
        totals.opened += report.opened
        totals.refused += report.refused
        totals.sent_bytes += report.sent_bytes
        totals.received_bytes += report.received_bytes
        if report.open:
            totals.open[source] = report.open
        else:
            totals.open.pop(source, None)
        for line in report.lines:
            self._outcomes.line(spec, WRITER, line, level="warning", stream="platform")
