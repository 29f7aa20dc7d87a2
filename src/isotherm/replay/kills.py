"""Kills processes of the running platform while a replay goes on, and writes down what was killed and came back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.replay.orders import KillOrder, choose_victims, kill_times
from isotherm.replay.processes import CONTROL, WARDEN, Process, ProcessTable, kill_process

__all__ = ["Kill", "Killer"]

BACK_S = 60.0  # after which a control process that has not come back is given up
POLL_S = 0.2  # between looks for the next control process: each walks all of /proc


@dataclass
class Kill:
    """One kill. Times in seconds of the replay."""

    what: str
    due_s: float
    at_s: float = 0.0  # before the first signal
    until_s: float = 0.0  # after the last
    found: int = 0  # processes that could have been killed
    functions: list[str | None] = field(
        default_factory=list
    )  # of each that was; None: an instance before its first call
    back_s: float | None = None  # of control: from the kill to an answer of the next one
    problem: str = ""  # why nothing was killed, or nothing came back


class Killer:
    """Carries out orders against the platform that listens at an address. `answers` returns where control answers."""

    def __init__(
        self,
        orders: list[KillOrder],
        length_s: float,
        seed: int,
        answers: Callable[[], Awaitable[object]],
        table: ProcessTable | None = None,
    ) -> None:
        """Raises `Invalid` where a kill lies outside of the replay."""
        due = [(at_s, order) for order in orders for at_s in kill_times(order, length_s)]
        self._due = sorted(due, key=lambda each: each[0])
        self._seed = seed
        self._answers = answers
        self._table = table or ProcessTable()
        self.kills: list[Kill] = []

    def find(self, host: str, port: int, pid: int | None) -> None:
        """Find the platform and see that it may be killed. Blocking. Raises `Invalid`, `Forbidden`, `Unavailable`."""
        table = self._table
        self._supervisor = table.supervisor_of(pid) if pid is not None else table.supervisor_at(host, port)
        for module in (CONTROL, WARDEN):
            process = table.child(self._supervisor, module)
            if process is None:
                raise Unavailable(f"--kill: the platform at {host}:{port} has no process {module} now; try again")
            kill_process(process, 0, table)

    async def run(self, started: float) -> None:
        """All kills when they are due, from `started` (`time.perf_counter`) on; `kills` has them as they come.

        Ends once every control process that was killed has a successor that answers.
        """
        async with asyncio.TaskGroup() as group:
            for turn, (due_s, order) in enumerate(self._due):
                await asyncio.sleep(max(0.0, started + due_s - perf_counter()))
                kill = Kill(order.what, due_s)
                self.kills.append(kill)
                group.create_task(self._carry_out(kill, order, turn, started))

    async def _carry_out(self, kill: Kill, order: KillOrder, turn: int, started: float) -> None:
        try:
            if order.what == "control":
                await self._kill_control(kill, started)
            else:
                await asyncio.to_thread(self._kill_instances, kill, order.share, turn, started)
        except IsothermError as exc:
            kill.problem = exc.message

    async def _kill_control(self, kill: Kill, started: float) -> None:
        killed = await asyncio.to_thread(self._end_control, kill, started)
        if killed is None:
            kill.problem = "there was no control process"
            return
        began = perf_counter()
        while perf_counter() - began < BACK_S:
            if await asyncio.to_thread(self._next_control, killed):
                with contextlib.suppress(IsothermError):
                    await self._answers()
                    kill.back_s = perf_counter() - began
                    return
            await asyncio.sleep(POLL_S)
        kill.problem = f"control was not back within {BACK_S:g} s"

    def _end_control(self, kill: Kill, started: float) -> Process | None:
        process = self._table.child(self._supervisor, CONTROL)
        kill.found = int(process is not None)
        kill.at_s = perf_counter() - started
        done = process is not None and kill_process(process, table=self._table)
        kill.until_s = perf_counter() - started
        return process if done else None

    def _next_control(self, killed: Process) -> bool:
        process = self._table.child(self._supervisor, CONTROL)
        return process is not None and process != killed

    def _kill_instances(self, kill: Kill, share: float, turn: int, started: float) -> None:
        found = self._table.instances(self._supervisor)
        kill.found = len(found)
        chosen = [found[index] for index in choose_victims(len(found), share, self._seed, turn)]
        kill.at_s = perf_counter() - started
        for process in chosen:
            function = self._table.function_of(process)
            if kill_process(process, table=self._table):
                kill.functions.append(function)
        kill.until_s = perf_counter() - started
        if not kill.functions:
            kill.problem = "there was no instance"
