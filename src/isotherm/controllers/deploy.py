"""The deploy controller: has hosts prepare building revisions, and marks them ready or failed."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from isotherm.base.clock import Clock
from isotherm.base.errors import Conflict, IsothermError, NotFound, TimedOut, TooManyRequests, Unavailable
from isotherm.bus.board import HostBoard
from isotherm.bus.progress import Finished, ProgressBook, ProgressStep
from isotherm.controllers.keep import jittered
from isotherm.controllers.link import LinkServer
from isotherm.controllers.port import Deploys
from isotherm.controllers.session import HostSession
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.link import Progress, Reply

__all__ = ["DeployController"]

_log = structlog.get_logger(__name__)
_rescan_s = 60.0
_announced_limit = 10_000
_again = (Unavailable.code, TooManyRequests.code)  # what a host may say that passes by itself


class DeployController:
    """Revisions come from `announce` and, at the start and every minute, from what still is `building`.

    At most `parallel` are prepared at a time; each has a deadline of the build's and the import's limits and
    `host_wait_s` for a host to connect. A revision is prepared on every connected host, with as many instances as the
    one that it relieves has there, where all calls go to it in one move; else with one, and the rollout starts more.
    """

    def __init__(
        self,
        *,
        deploys: Deploys,
        link: LinkServer,
        board: HostBoard,
        progress: ProgressBook,
        url_of: Callable[[RevisionSpec], str],
        clock: Clock,
        build_timeout_s: float,
        host_wait_s: float = 120.0,
        parallel: int = 64,
    ) -> None:
        self._deploys = deploys
        self._link = link
        self._board = board
        self._progress = progress
        self._url_of = url_of
        self._clock = clock
        self._build_timeout_s = build_timeout_s
        self._host_wait_s = host_wait_s
        self._slots = asyncio.Semaphore(parallel)
        self._announced: deque[str] = deque(maxlen=_announced_limit)  # what falls out is found by the next scan
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def announce(self, revision_id: str) -> None:
        """A revision was made. May be called on any thread; before `run` it is found by the first scan."""
        self._announced.append(revision_id)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Until cancelled; then what is under way is left `building`, for the next process to prepare again."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self._scan()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(jittered(_rescan_s)):
                        while True:
                            await self._wake.wait()
                            self._take_announced()
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _scan(self) -> None:
        for spec in await asyncio.to_thread(self._deploys.building):
            self._begin(spec.id)

    def _take_announced(self) -> None:
        self._wake.clear()
        while self._announced:
            self._begin(self._announced.popleft())

    def _begin(self, revision_id: str) -> None:
        if revision_id in self._under_way:
            return
        task = asyncio.create_task(self._deploy(revision_id), name=f"deploy {revision_id}")
        self._under_way[revision_id] = task
        task.add_done_callback(lambda _: self._under_way.pop(revision_id, None))

    async def _deploy(self, revision_id: str) -> None:
        began_s = self._clock.monotonic_s()
        async with self._slots:
            try:
                spec = await asyncio.to_thread(self._deploys.spec, revision_id)
            except NotFound as gone:
                self._progress.record(revision_id, Finished(state="failed", problem=gone.problem()))
                return
            try:
                reply = await self._prepare(spec)
                finished = await self._settle(spec, reply, began_s)
            except NotFound as gone:
                finished = Finished(state="failed", problem=gone.problem())
                await self._forget(spec)
            except Exception:  # noqa: BLE001 (the revision stays `building`; the next scan prepares it again)
                _log.exception("a deploy stopped on an unexpected failure", revision_id=revision_id)
                return
        self._progress.record(revision_id, finished)
        _log.info(
            "a deploy ended",
            revision_id=revision_id,
            namespace=spec.namespace,
            name=spec.name,
            number=spec.number,
            state=finished.state,
            problem=(finished.problem or {}).get("code"),
        )

    async def _settle(self, spec: RevisionSpec, reply: Reply, began_s: float) -> Finished:
        """Write down what came of it. Raises `NotFound` where the revision was deleted meanwhile."""
        elapsed_ms = (self._clock.monotonic_s() - began_s) * 1000
        try:
            if reply.problem is None:
                await asyncio.to_thread(
                    self._deploys.mark_ready,
                    spec.id,
                    template=bool(reply.result.get("template", False)),
                    unfit=[str(reason) for reason in reply.result.get("unfit", ())],
                    elapsed_ms=elapsed_ms,
                )
                await self._link.settled()
                return Finished(state="ready", url=self._url_of(spec))
            await asyncio.to_thread(self._deploys.mark_failed, spec.id, reply.problem, elapsed_ms=elapsed_ms)
            return Finished(state="failed", problem=reply.problem)
        except Conflict as decided:  # a former control process got to it before it ended
            _log.info("the revision was settled already", revision_id=spec.id, reason=decided.message)
            if reply.problem is None:
                return Finished(state="failed", problem=decided.problem())
            return Finished(state="ready", url=self._url_of(spec))

    async def _prepare(self, spec: RevisionSpec) -> Reply:
        """The hosts' verdict; a failure of any kind is a reply with a problem."""
        limit_s = self._build_timeout_s + spec.init_timeout_s
        at_once = await asyncio.to_thread(self._deploys.moves_at_once, spec.id)
        try:
            async with asyncio.timeout(limit_s + self._host_wait_s):
                return await self._prepare_until_decided(spec, limit_s, at_once=at_once)
        except TimeoutError:
            late = TimedOut(
                f"no host prepared revision {spec.number} of {spec.name} within {limit_s + self._host_wait_s:.0f} s; "
                "see `isotherm doctor` for hosts, then deploy again",
                revision_id=spec.id,
            )
            return Reply(order_id="", problem=late.problem())

    async def _prepare_until_decided(self, spec: RevisionSpec, limit_s: float, *, at_once: bool) -> Reply:
        wait_s = 0.1
        while True:
            sessions = self._link.sessions()
            if not sessions:
                self._note(spec, "host", "running", "waiting for a host to connect")
                await self._link.host_arrives(5.0)
                continue
            replies = await asyncio.gather(
                *(
                    self._order(
                        session, spec, limit_s, self._wanted(session, spec, at_once), shown=session is sessions[0]
                    )
                    for session in sessions
                )
            )
            verdict = _verdict(replies)
            if verdict is not None:
                return verdict
            self._note(spec, "host", "running", _detail(replies[0].problem) + "; trying again")
            await asyncio.sleep(jittered(wait_s))
            wait_s = min(wait_s * 2, 5.0)

    def _wanted(self, session: HostSession, spec: RevisionSpec, at_once: bool) -> int:
        """How many instances it needs before the calls come."""
        if not at_once:
            return 1
        live = self._board.live_instances(session.hello.host_id, spec.namespace, spec.name)
        return max(1, min(live, spec.warm.max_instances))

    async def _order(
        self, session: HostSession, spec: RevisionSpec, limit_s: float, instances: int, *, shown: bool
    ) -> Reply:
        def on_progress(progress: Progress) -> None:
            if shown:
                self._progress.record(
                    spec.id,
                    ProgressStep(
                        step=progress.step,
                        state=progress.state,
                        message=progress.message,
                        elapsed_ms=progress.elapsed_ms,
                    ),
                )

        try:
            return await session.order(
                "prepare", timeout_s=limit_s, revision=spec, instances=instances, on_progress=on_progress
            )
        except IsothermError as exc:
            return Reply(order_id="", problem=exc.problem())

    async def _forget(self, spec: RevisionSpec) -> None:
        """It was deleted while hosts prepared it; they learn of no such revision from the desired state."""
        for session in self._link.sessions():
            with contextlib.suppress(IsothermError):
                await session.order("forget", timeout_s=30.0, revision=spec)

    def _note(self, spec: RevisionSpec, step: str, state: Any, message: str) -> None:
        self._progress.record(spec.id, ProgressStep(step=step, state=state, message=message))


def _verdict(replies: list[Reply]) -> Reply | None:
    """Failed where a host says so for good, ready where one has it, None where all must be asked again."""
    for reply in replies:
        if reply.problem is not None and reply.problem.get("code") not in _again:
            return reply
    return next((reply for reply in replies if reply.problem is None), None)


def _detail(problem: dict[str, Any] | None) -> str:
    return str((problem or {}).get("detail") or "no host could prepare it")
