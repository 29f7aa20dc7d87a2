"""What becomes of a call once it is over: counts, the full record where one is kept, and its log lines."""

import msgspec

from isotherm.base.clock import Clock
from isotherm.base.errors import IsothermError
from isotherm.invocations.aggregates import RevisionStats
from isotherm.invocations.recorder import Recorder
from isotherm.pool.call import Call
from isotherm.pool.events import recorded_event, wants_event
from isotherm.pool.faults import outcome_of
from isotherm.pool.model import PoolLimits
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.telemetry import InvocationRecord, LogLine, Outcome
from isotherm_runtime.frames import Flag

__all__ = ["TAIL_BYTES", "Outcomes"]

TAIL_BYTES = 4096  # of a call's log, handed back to a caller that asked (Lambda's limit)
MAX_ERROR_TEXT = 1024
ENDED_BY_US = frozenset(("timed_out", "instance_crashed", "out_of_memory"))
log_head = msgspec.json.Decoder(tuple[int, str | None])


class Outcomes:
    """Writes to the recorder. One per pool."""

    def __init__(self, recorder: Recorder, limits: PoolLimits, clock: Clock) -> None:
        self._recorder = recorder
        self._limits = limits
        self._clock = clock

    def answered(
        self, spec: RevisionSpec, stats: RevisionStats, call: Call, status: int, size: int, now_s: float, sampled: bool
    ) -> None:
        """A call that was answered and is cold, slow, sampled, or had to wait."""
        self._note(spec, stats, call, "ok", status, None, size, now_s, sampled)

    def failed(
        self, spec: RevisionSpec, stats: RevisionStats, call: Call, status: int, error: IsothermError, now_s: float
    ) -> None:
        """A call that failed."""
        if call.carrier is not None and error.code in ENDED_BY_US:  # the handler could not say it itself
            self.line(spec, call.carrier.id, error.message, level="error", call=call, stream="platform")
        self._note(spec, stats, call, outcome_of(error), status, error, 0, now_s)

    def left(self, stats: RevisionStats, call: Call, now_s: float, response_bytes: int = 0) -> None:
        """A call whose caller went away before it was over."""
        run_ms = (now_s - call.sent_s) * 1000.0 if call.sent_s else 0.0
        stats.ok((now_s - call.arrived_s) * 1000.0, run_ms, call.request_bytes, response_bytes)

    def logged(
        self, spec: RevisionSpec, instance_id: str, call: Call | None, flags: int, head: bytes, body: bytes
    ) -> None:
        """A LOG frame. One that cannot be read is dropped and counted."""
        try:
            at_ms, level = log_head.decode(head)
        except msgspec.MsgspecError:
            self._recorder.drop_logs(1)
            return
        text = body[: self._limits.log_call_bytes]
        if call is not None and call.tail is not None:
            call.tail.append(text[1 - TAIL_BYTES :] + b"\n")
            call.tail_bytes += len(call.tail[-1])
            while call.tail_bytes - len(call.tail[0]) >= TAIL_BYTES:
                call.tail_bytes -= len(call.tail.pop(0))
        self.line(
            spec,
            instance_id,
            text.decode("utf-8", "replace") + (" … (log limit)" if flags & Flag.TRUNCATED else ""),
            at_ms=at_ms,
            level=level[:16] if level else None,
            call=call,
        )

    def line(
        self,
        spec: RevisionSpec,
        instance_id: str,
        message: str,
        *,
        at_ms: int | None = None,
        level: str | None = None,
        call: Call | None = None,
        stream: str = "log",
    ) -> None:
        """One log line of an instance; `stream` is one of `LogLine.stream`."""
        self._recorder.log(
            LogLine(
                namespace=spec.namespace,
                name=spec.name,
                revision_id=spec.id,
                instance_id=instance_id,
                at_ms=self._clock.time_ms() if at_ms is None else at_ms,
                message=message,
                invocation_id=None if call is None else call.id,
                level=level,
                stream="stdout" if stream == "stdout" else "platform" if stream == "platform" else "log",
            )
        )
        if spec.development:
            self._recorder.on_hurry()

    def dropped(self, count: int) -> None:
        """Lines that were over an instance's rate."""
        self._recorder.drop_logs(count)

    def _note(
        self,
        spec: RevisionSpec,
        stats: RevisionStats,
        call: Call,
        outcome: Outcome,
        status: int,
        error: IsothermError | None,
        response_bytes: int,
        now_s: float,
        sampled: bool = False,
    ) -> None:
        total_ms = (now_s - call.arrived_s) * 1000.0
        if call.sent_s:
            queue_ms, start_ms = call.waited_ms()
            run_ms = (now_s - call.sent_s) * 1000.0
        else:
            queue_ms, start_ms, run_ms = total_ms, 0.0, 0.0
        size = call.request_bytes
        stats.note(outcome, call.cold_cause, total_ms, run_ms, queue_ms, start_ms, size, response_bytes)
        cold = call.cold_cause is not None
        slow = total_ms >= self._limits.slow_ms
        if outcome == "ok" and not (cold or slow or sampled):
            return  # it waited and was counted
        if outcome == "rejected" and call.carrier is None and stats.window.outcomes.get("rejected", 0) > 100:
            return  # a flood that is turned away is counted, not recorded one by one
        carrier = call.carrier
        started_at_ms = self._clock.time_ms() - round(total_ms)
        event = recorded_event(spec, call, started_at_ms) if wants_event(spec, outcome) else None
        if event is not None:
            self._recorder.keep_event(event)
        self._recorder.keep(
            InvocationRecord(
                id=call.id,
                namespace=spec.namespace,
                name=spec.name,
                revision_id=spec.id,
                alias=call.alias,
                source=call.source,
                started_at_ms=started_at_ms,
                queue_ms=queue_ms,
                start_ms=start_ms,
                run_ms=run_ms,
                total_ms=total_ms,
                outcome=outcome,
                status=status,
                cold_cause=call.cold_cause,
                instance_id=None if carrier is None else carrier.id,
                principal_id=call.principal_id,
                error_type=None if error is None else str(error.data.get("error_type") or error.code)[:256],
                error_message=None if error is None else error.message[:MAX_ERROR_TEXT],
                request_bytes=size,
                response_bytes=response_bytes,
                why_kept="failed"
                if outcome != "ok"
                else "cold"
                if cold
                else "slow"
                if slow
                else "asked"
                if event is not None
                else "sampled",
                start_steps_ms=dict(carrier.start_steps_ms) if cold and carrier is not None else {},
            )
        )
