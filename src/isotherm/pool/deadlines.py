"""What becomes of calls that run over their time, and of the instances that do not give them up."""

from typing import Protocol

from isotherm.base.errors import IsothermError, TimedOut
from isotherm.pool.call import Call
from isotherm.pool.connection import InstanceConnection
from isotherm.pool.model import Phase
from isotherm.wire.telemetry import ColdCause

__all__ = ["DEADLINE_GRACE_S", "MAX_PAUSE_S", "STUCK_GRACE_S", "check_deadlines"]

DEADLINE_GRACE_S = 0.05  # the runtime cancels an async handler at its deadline; its answer gets this long to arrive
MAX_PAUSE_S = 3600.0  # a breakpoint that nobody goes on from ends its calls after so long
STUCK_GRACE_S = 0.5  # an instance that gave no sign for a call that is over gets this long, then it is replaced


class Holder(Protocol):
    """The revision, as far as its deadlines need it."""

    loss: ColdCause | None

    def unlist(self, connection: InstanceConnection) -> None: ...

    def fail(self, call: Call, error: IsothermError, now_s: float) -> None: ...


def check_deadlines(holder: Holder, connection: InstanceConnection, now_s: float) -> None:
    """Look at one busy instance. All its calls have one time limit, so the oldest is the next to be over."""
    if 0.0 < connection.paused_s(now_s) < MAX_PAUSE_S:
        return
    calls = connection.calls
    while calls:
        call = next(iter(calls.values()))
        if now_s < call.deadline_s + DEADLINE_GRACE_S:
            break
        _over(holder, connection, call, now_s)
    if connection.stuck and not calls and now_s - connection.stuck_since_s >= STUCK_GRACE_S:
        connection.kill("the instance did not give up a call that was over its time limit, and was ended")


def _over(holder: Holder, connection: InstanceConnection, call: Call, now_s: float) -> None:
    """A call is at its deadline: its caller is answered; the instance is asked to stop, or ended."""
    del connection.calls[call.stream]
    connection.stuck[call.stream] = call
    connection.stuck_since_s = now_s
    if connection.phase == Phase.READY:
        connection.phase = Phase.STUCK
    holder.unlist(connection)
    if connection.capacity == 1:
        connection.kill("the call was over its time limit")
        holder.loss = "replaced"
    else:
        connection.cancel(call)
    limit_s = connection.timeout_s
    holder.fail(call, TimedOut(f"the call ran longer than the limit of {limit_s:g} s", timeout_s=limit_s), now_s)
