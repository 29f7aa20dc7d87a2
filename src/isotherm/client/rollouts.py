"""Rollouts: moving an alias to another revision, step by step and watched."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from isotherm.client.model import Rollout
from isotherm.client.request import function_path, segment
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = ["AsyncRollouts", "Rollouts"]

LOOK_S = 0.5


class AsyncRollouts(AsyncNoun):
    """Rollouts of a function."""

    def list(self, function: str, limit: int | None = None) -> AsyncStream[Rollout]:
        """The newest first; of one alias at most one is open."""
        return AsyncStream(self._session.pages(self._path(function), Rollout, limit))

    async def get(self, function: str, rollout_id: str) -> Rollout:
        """How far it has got, and the evidence for and against the new revision. Raises `NotFound`."""
        return await self._session.get(self._one(function, rollout_id), Rollout)

    async def start(
        self, function: str, to: int, *, alias: str = "live", plan: Mapping[str, Any] | None = None
    ) -> Rollout:
        """Begin to move an alias to a ready revision. `plan` has the keys of `[rollout]` in isotherm.toml: `strategy`,
        `steps`, `step_s`, …"""
        return await self._session.post(self._path(function), Rollout, {"to": to, "alias": alias, **(plan or {})})

    async def pause(self, function: str, rollout_id: str) -> Rollout:
        """It stays at this step. The gate goes on watching."""
        return await self._session.post(f"{self._one(function, rollout_id)}/pause", Rollout)

    async def resume(self, function: str, rollout_id: str) -> Rollout:
        """It goes on where it was paused."""
        return await self._session.post(f"{self._one(function, rollout_id)}/resume", Rollout)

    async def abort(self, function: str, rollout_id: str) -> Rollout:
        """All calls go back to the revision that had them."""
        return await self._session.post(f"{self._one(function, rollout_id)}/abort", Rollout)

    def watch(self, function: str, rollout_id: str) -> AsyncStream[Rollout]:
        """Looks at it twice a second; the last one tells how it ended: `state` is finished or rolled_back."""
        return AsyncStream(self._looks(function, rollout_id))

    async def _looks(self, function: str, rollout_id: str) -> AsyncGenerator[Rollout, None]:
        while True:
            found = await self.get(function, rollout_id)
            yield found
            if found.state != "open":
                return
            await self._session.wire.sleep(LOOK_S)

    def _path(self, function: str) -> str:
        return self._session.path(f"{function_path(function)}/rollouts")

    def _one(self, function: str, rollout_id: str) -> str:
        return f"{self._path(function)}/{segment(rollout_id)}"


class Rollouts(Noun[AsyncRollouts]):
    """Rollouts of a function."""

    list = streaming(AsyncRollouts.list)
    get = blocking(AsyncRollouts.get)
    start = blocking(AsyncRollouts.start)
    pause = blocking(AsyncRollouts.pause)
    resume = blocking(AsyncRollouts.resume)
    abort = blocking(AsyncRollouts.abort)
    watch = streaming(AsyncRollouts.watch)
