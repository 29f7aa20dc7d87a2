"""Where passwords are hashed: a few threads of their own, and a bound on who waits, so that a storm of logins stops
nothing else."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from isotherm.base.errors import TooManyRequests

__all__ = ["PasswordDesk"]

P = ParamSpec("P")
T = TypeVar("T")
_per_thread = 16  # who waits, so that nobody does for more than about a second


class PasswordDesk:
    """One per application; used on its loop. Half of the cores at most hash."""

    def __init__(self, threads: int | None = None) -> None:
        count = threads or max(1, (os.cpu_count() or 2) // 2)
        self._most = count * (_per_thread + 1)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="passwords")
        self._under_way = 0

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns. Raises `TooManyRequests` where too many wait, and what it raises."""
        if self._under_way >= self._most:
            raise TooManyRequests("too many logins are under way; try again in a moment", retry_after_s=1.0)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))
        finally:
            self._under_way -= 1
