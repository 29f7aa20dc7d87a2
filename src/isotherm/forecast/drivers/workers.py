"""Worker processes for fits: few jobs in flight, none waited for, a pool that broke or hangs is replaced."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, ParamSpec, TypeVar

from isotherm.base.parent import end_with_parent

__all__ = ["Workers"]

P = ParamSpec("P")
T = TypeVar("T")
LONGEST_S: Final = 600.0  # without any job ending, while there are some
IN_FLIGHT: Final = 4  # for each process
REST_S: Final = 300.0  # after a pool broke, so that what breaks at once is not begun again at every tick


class Workers:
    """Spawned, not forked: the process that asks has threads. `in_flight`: jobs at once."""

    def __init__(self, processes: int, in_flight: int | None = None) -> None:
        self._processes = processes
        self._in_flight = IN_FLIGHT * processes if in_flight is None else in_flight
        self._broke_s = -REST_S
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: set[Future[object]] = set()
        self._progress_s = 0.0

    @property
    def room(self) -> int:
        """How many jobs may be in flight: none for a while after the pool broke."""
        return self._in_flight if time.monotonic() - self._broke_s >= REST_S else 0

    def submit(self, function: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> Future[T]:
        """Begin a job; the future fails where the pool broke."""
        self._look()
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=end_with_parent)
            self._progress_s = time.monotonic()
        try:
            found = self._pool.submit(function, *args, **keywords)
        except BrokenProcessPool as exc:
            self.broke()
            found = Future()
            found.set_exception(exc)
            return found
        self._waiting.add(found)  # type: ignore[arg-type]  # a future of something
        return found

    def broke(self) -> None:
        """The pool broke, as a job's end said: it is closed, and rests."""
        self._broke_s = time.monotonic()
        self.close()

    def close(self) -> None:
        """End the processes; what is running is lost."""
        pool, self._pool = self._pool, None
        self._waiting.clear()
        if pool is not None:
            for process in list((pool._processes or {}).values()):  # the pool itself has no way to end a job
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        done = {each for each in self._waiting if each.done()}
        self._waiting -= done
        if done or not self._waiting:
            self._progress_s = time.monotonic()
        elif time.monotonic() - self._progress_s > LONGEST_S:
            self.close()
