"""The one thread that writes the queue. What waits while a transaction is made durable goes into the next (group
commit)."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.queue.port import QueueStore
from isotherm.telemetry.logging import get_logger

__all__ = ["Done", "Work", "Writer"]

Work = Callable[[QueueStore], Any]
Done = Callable[[Any, IsothermError | None], None]  # (what the work returned, None) or (None, why nothing was written)
MAX_GROUP = 1000
CLOSE_TIMEOUT_S = 30.0


class Writer:
    """Used from the loop's thread; `done` is called there, in the order in which the work was given."""

    def __init__(self, store: QueueStore) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Work, Done]] = []
        self._unfinished = 0
        self._wake = threading.Event()
        self._stopping = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="queue", daemon=True)
        self._log = get_logger("queue")

    def __len__(self) -> int:
        """Work that is not durable yet."""
        return self._unfinished

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def submit(self, work: Work, done: Done) -> None:
        """Write in the next transaction. `done` comes once it is durable, or was given up."""
        self._waiting.append((work, done))
        self._unfinished += 1
        self._wake.set()

    async def write(self, work: Work) -> Any:
        """Submit, and wait. Raises `Unavailable`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: IsothermError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(work, done)
        return await future

    async def close(self) -> None:
        """Write what is left, and end the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._waiting[:MAX_GROUP]
                del self._waiting[: len(group)]  # the loop adds at the other end meanwhile
                self._commit(group)
            if self._stopping:
                return

    def _commit(self, group: list[tuple[Work, Done]]) -> None:
        try:
            self._store.begin()
            results = [work(self._store) for work, _ in group]
            self._store.commit()
        except Exception as exc:  # noqa: BLE001 -- whatever it was, nothing of the group was written, and all are told
            self._failed(group, exc)
            return
        if self._broken:
            self._broken = False
            self._log.info("the queue can be written again")
        self._tell(group, results, None)

    def _failed(self, group: list[tuple[Work, Done]], exc: Exception) -> None:
        try:
            self._store.rollback()
        except IsothermError as second:
            self._log.warning("the queue cannot roll back", problem=second.message)
        if not isinstance(exc, IsothermError):
            self._log.error("a write to the queue failed", problem=f"{type(exc).__name__}: {exc}", exc_info=exc)
        elif not self._broken:
            self._log.error("the queue cannot be written; it is tried again", problem=exc.message)
        self._broken = True
        error = exc if isinstance(exc, IsothermError) else Unavailable("the queue failed; try again", retry_after_s=1.0)
        self._tell(group, [None] * len(group), error)

    def _tell(self, group: list[tuple[Work, Done]], results: list[Any], error: IsothermError | None) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._done, group, results, error)
        except RuntimeError:  # the loop has ended; what was written counts all the same
            return

    def _done(self, group: list[tuple[Work, Done]], results: list[Any], error: IsothermError | None) -> None:
        self._unfinished -= len(group)
        for (_, done), result in zip(group, results, strict=True):
            try:
                done(result, error)
            except Exception:  # noqa: BLE001 -- a bug that concerns one call must not silence the others of its group
                self._log.exception("what follows a write to the queue failed")
