"""The rollout controller: warms the new revision, moves the alias step by step, watches, and goes back where it must.

All state is in the database: a control process that dies in the middle is followed by one that goes on where it was.
"""

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, IsothermError, NotFound
from isotherm.bus.board import HostBoard
from isotherm.bus.latest import Latest
from isotherm.controllers.keep import jittered
from isotherm.controllers.link import LinkServer
from isotherm.controllers.port import OpenRollouts, RevisionMinutes
from isotherm.controllers.session import HostSession
from isotherm.wire.desired import RevisionSpec
from isotherm.workloads.rollout_model import Counts, Mark, Reading, RolloutRow
from isotherm.workloads.rollout_policy import (
    Advance,
    Decision,
    Hold,
    RollBack,
    Stage,
    counts_of,
    decide,
    instances_wanted,
    since,
    stages,
)

__all__ = ["RolloutController"]

_log = structlog.get_logger(__name__)
_tick_s = 1.0
_warm_margin_s = 60.0  # beyond the import's limit: a host that imports anew may have to fetch and unpack before
_warm_attempts = 5
_history_minutes = 60  # of the old revision, to judge a new one by that has all the calls


@dataclass(slots=True)
class _Watch:
    """What this process knows of an open rollout beside its row."""

    task: asyncio.Task[None] | None = None
    step: int = -1
    step_seen_s: float = 0.0  # by the monotonic clock
    failed_starts: int = 0


class RolloutController:
    """Looks at every open rollout once a second, each by itself, and at once where one was begun or steered."""

    def __init__(
        self,
        *,
        rollouts: OpenRollouts,
        minutes: RevisionMinutes,
        link: LinkServer,
        board: HostBoard,
        readings: Latest[str, Reading],
        clock: Clock,
        tick_s: float = _tick_s,
    ) -> None:
        self._rollouts = rollouts
        self._minutes = minutes
        self._link = link
        self._board = board
        self._readings = readings
        self._clock = clock
        self._tick_s = tick_s
        self._watched: dict[str, _Watch] = {}
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def look(self) -> None:
        """Something was begun or steered. May be called on any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Until cancelled; then every rollout stays where it is, for the next process."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self._round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._tick_s):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            tasks = [watch.task for watch in self._watched.values() if watch.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self) -> None:
        rows = await asyncio.to_thread(self._rollouts.open)
        for gone in self._watched.keys() - {row.id for row in rows}:
            if self._watched[gone].task is None:
                del self._watched[gone]
                self._readings.drop(gone)
        for row in rows:
            watch = self._watched.setdefault(row.id, _Watch())
            if watch.task is None:
                watch.task = asyncio.create_task(self._look_at(row, watch), name=f"rollout {row.id}")

    async def _look_at(self, row: RolloutRow, watch: _Watch) -> None:
        try:
            while await self._act(row, watch):
                found = [each for each in await asyncio.to_thread(self._rollouts.open) if each.id == row.id]
                if not found:
                    break
                row = found[0]
        except (Conflict, NotFound) as settled:  # somebody else was first: the next round sees what is now
            _log.info("a rollout is elsewhere by now", rollout_id=row.id, reason=settled.message)
        except Exception:  # noqa: BLE001 (the rollout stays where it is; the next round tries again)
            _log.exception("a rollout could not be looked at", rollout_id=row.id)
        finally:
            watch.task = None

    async def _act(self, row: RolloutRow, watch: _Watch) -> bool:
        """Decide and do. Whether there may be more to do at once."""
        decision = await self._decided(row, watch)
        match decision:
            case Hold():
                return False
            case RollBack():
                await self._roll_back(row, decision)
            case Advance() if row.step == len(stages(row.plan)):
                await asyncio.to_thread(self._rollouts.finish, row.id, decision.reading)
                _log.info("a rollout finished", **_named(row))
                await self._link.settled()
            case Advance() if self._link.sessions():
                return await self._advance(row, watch, decision.reading)
        return False  # where no host is there, there is nothing to be warm for: nothing moves until one is back

    async def _advance(self, row: RolloutRow, watch: _Watch, reading: Reading | None) -> bool:
        stage = stages(row.plan)[row.step]
        warming = asyncio.create_task(self._warm(row, stage), name=f"warm {row.id}")
        try:
            while not (await asyncio.wait({warming}, timeout=self._tick_s))[0]:
                decision = await self._decided(row, watch)  # the step before is watched as long as it lasts
                if isinstance(decision, RollBack):
                    await self._roll_back(row, decision)
                    return False
        finally:
            warming.cancel()
        if not warming.result():
            watch.failed_starts += 1
            if watch.failed_starts >= _warm_attempts:
                await self._roll_back(row, RollBack("start", reading))
            return False
        watch.failed_starts = 0
        mark = await asyncio.to_thread(self._mark, row, stage)
        moved = await asyncio.to_thread(self._rollouts.step, row.id, row.step + 1, mark, reading)
        await self._link.settled()
        _log.info("a rollout went on", **_named(row), step=moved.step, weight=stage.weight, state=moved.state)
        return moved.state == "open" and stage.least_s == 0

    async def _roll_back(self, row: RolloutRow, decision: RollBack) -> None:
        await asyncio.to_thread(self._rollouts.roll_back, row.id, decision.rule, decision.reading)
        await self._link.settled()
        _log.warning("a rollout was rolled back", **_named(row), rule=decision.rule)

    async def _decided(self, row: RolloutRow, watch: _Watch) -> Decision:
        elapsed_s = self._elapsed_s(row, watch)
        decision = await asyncio.to_thread(self._decide, row, elapsed_s)
        if decision.reading is not None:
            self._readings.put(row.id, decision.reading)
        return decision

    # -- warm before traffic -------------------------------------------------------------------------------------------

    async def _warm(self, row: RolloutRow, stage: Stage) -> bool:
        """Have every host start as many instances of the new revision as its share will need."""
        spec = await asyncio.to_thread(self._rollouts.spec, row, row.to)
        old = await asyncio.to_thread(self._rollouts.spec, row, row.before)
        sessions = self._link.sessions()
        return all(await asyncio.gather(*(self._warm_on(session, spec, old, stage) for session in sessions)))

    async def _warm_on(self, session: HostSession, spec: RevisionSpec, old: RevisionSpec, stage: Stage) -> bool:
        live = self._board.live_instances(session.hello.host_id, old.namespace, old.name, old.id)
        wanted = instances_wanted(live, stage, spec.warm.max_instances)
        limit_s = spec.init_timeout_s + _warm_margin_s
        try:
            reply = await session.order("prepare", timeout_s=limit_s, revision=spec, instances=wanted)
        except IsothermError as exc:
            problem = exc.message
        else:
            problem = str((reply.problem or {}).get("detail", ""))
            if reply.problem is None:
                return True
        _log.warning("a host did not start the new revision", host_id=session.hello.host_id, reason=problem)
        await asyncio.sleep(jittered(self._tick_s))
        return False

    # -- what was counted ----------------------------------------------------------------------------------------------

    def _decide(self, row: RolloutRow, elapsed_s: float) -> Decision:
        old = new = Counts()
        if row.mark is not None:
            old = since(self._counted(row, row.before, row.mark.old_since), row.mark.old)
            new = since(self._counted(row, row.to, row.mark.new_since), row.mark.new)
        return decide(row.plan, row.step, paused=row.paused, old=old, new=new, elapsed_s=elapsed_s)

    def _mark(self, row: RolloutRow, stage: Stage) -> Mark:
        now = self._clock.time_ms() // 60_000 - 1  # a host's clock may be behind
        new = self._counted(row, row.to, now)
        if stage.kind == "whole":
            return Mark(old_since=now - _history_minutes, new_since=now, new=new)
        return Mark(old_since=now, new_since=now, old=self._counted(row, row.before, now), new=new)

    def _counted(self, row: RolloutRow, number: int, since_minute: int) -> Counts:
        spec = self._rollouts.spec(row, number)
        return counts_of(self._minutes(spec.id, since_minute=since_minute))

    def _elapsed_s(self, row: RolloutRow, watch: _Watch) -> float:
        """Time in this step: by the wall clock, which outlives this process; and no less than this process saw pass,
        should the wall clock be set back."""
        now_s = self._clock.monotonic_s()
        if watch.step != row.step:
            watch.step, watch.step_seen_s = row.step, now_s
        return max((self._clock.time_ms() - row.step_since_ms) / 1000, now_s - watch.step_seen_s)


def _named(row: RolloutRow) -> dict[str, object]:
    return {
        "rollout_id": row.id,
        "namespace": row.namespace,
        "name": row.name,
        "alias": row.alias,
        "before": row.before,
        "to": row.to,
    }
