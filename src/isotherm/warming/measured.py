"""What workloads were measured to hold and to wait for on each rung; what is presumed until then."""

import numpy
from numpy.typing import NDArray

from isotherm.warming.model import Doubles, Rung
from isotherm.wire.telemetry import InvocationRecord, WorkloadState

__all__ = ["Measured"]

GB = 1e9
INSTANCE_GB, TEMPLATE_GB = 0.008, 0.012  # presumed; a bare function, measured (`python -m benchmarks templates`)
COLD_S, TEMPLATE_S = 0.107, 0.005  # the same (`python -m benchmarks cold`)
GONE = frozenset(("let_go", "expired", "evicted", "replaced"))  # the instance; the template may be there or not
FAR_LONGER = 3.0  # than the start of an instance: then a template was built, too
NEWEST = 0.5  # what the last measurement counts for


class Measured:
    """Of rows, [n] each: memory of an idle instance and of a template with its spares, seconds that a call waits that
    starts from nothing, and one that finds a template."""

    def __init__(self, n: int) -> None:
        self.instance_gb = numpy.full(n, INSTANCE_GB)
        self.template_gb = numpy.full(n, TEMPLATE_GB)
        self.cold_s = numpy.full(n, COLD_S)
        self.template_s = numpy.full(n, TEMPLATE_S)

    def enlarge(self, n: int) -> None:
        fresh = Measured(n - len(self.cold_s))
        for name, values in vars(self).items():
            setattr(self, name, numpy.concatenate([values, vars(fresh)[name]]))

    def forget(self, row: int) -> None:
        for name, values in vars(self).items():
            values[row] = vars(Measured(1))[name][0]

    def saw_state(self, row: int, state: WorkloadState) -> None:
        """What a host holds of the row's revision now."""
        kinds = state.temperatures
        instances = kinds.get("hot", 0) + kinds.get("warm", 0) + kinds.get("spare", 0)
        beside = state.memory_bytes - state.template_bytes
        if instances and beside > 0:
            self.instance_gb[row] = beside / instances / GB
        if state.template_bytes:
            spares = kinds.get("spare", 0) * self.instance_gb[row]
            self.template_gb[row] = state.template_bytes / GB + spares

    def saw_call(self, row: int, call: InvocationRecord) -> None:
        """A call that was cold: what it waited for."""
        waited_s = (call.queue_ms + call.start_ms) / 1000
        if waited_s <= 0:
            return
        if call.cold_cause == "first" or (call.cold_cause in GONE and waited_s > FAR_LONGER * _start_s(call)):
            self.cold_s[row] += NEWEST * (waited_s - self.cold_s[row])
        elif call.cold_cause != "scale_out":
            self.template_s[row] += NEWEST * (waited_s - self.template_s[row])

    def ladder(self, steered: NDArray[numpy.bool_]) -> tuple[Doubles, Doubles]:
        """Memory and waiting on each rung, [n, rungs] each. `steered` [n]: False where there is nothing to decide."""
        n = len(self.cold_s)
        gb = numpy.zeros((n, len(Rung)))
        gb[:, Rung.FROZEN] = numpy.inf
        gb[:, Rung.TEMPLATE] = self.template_gb
        gb[:, Rung.WARM] = self.template_gb + self.instance_gb
        gb[~steered, 1:] = numpy.inf
        start_s = numpy.zeros((n, len(Rung)))
        start_s[:, Rung.COLD] = start_s[:, Rung.FROZEN] = self.cold_s
        start_s[:, Rung.TEMPLATE] = numpy.minimum(self.template_s, self.cold_s)
        return gb, start_s


def _start_s(call: InvocationRecord) -> float:
    """What the start of its instance took, from a template that was there."""
    return max(call.start_steps_ms.get("total", 0.0) / 1000, TEMPLATE_S)
