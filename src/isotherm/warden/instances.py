"""The instances of one revision: asked of its keeper in turn, watched, buried."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from isotherm.warden.cgroups import CgroupError
from isotherm.warden.instance import Instance, exit_message, remove_group
from isotherm.warden.kit import KitStock
from isotherm.warden.ranges import NoIdsLeft
from isotherm_runtime import linux

__all__ = ["Instances", "Tell"]

_MAX_WAITING = 4096
_IN_FLIGHT = 2  # requests at the keeper: one that it serves, one that it finds when it is done
_START_TIMEOUT_S = 25.0
_keeper_steps = ("clone", "maps", "mounts", "confine", "verify")


class Tell(Protocol):
    """Send a message; the descriptors are closed after."""

    def __call__(self, message: dict[str, Any], descriptors: list[int] = ..., /) -> None: ...


class Instances:
    """`tell_keeper` and `tell_host` send; `on_breach(reason)` is called where the keeper can't be used any more."""

    def __init__(
        self, stock: KitStock, tell_keeper: Tell, tell_host: Tell, on_breach: Callable[[str], None], *, isolated: bool
    ) -> None:
        self._stock = stock
        self._tell_keeper = tell_keeper
        self._tell_host = tell_host
        self._on_breach = on_breach
        self._isolated = isolated
        self._live: dict[str, Instance] = {}
        self._waiting: deque[Instance] = deque()
        self._in_flight: dict[str, asyncio.TimerHandle] = {}
        self._burials: set[asyncio.Task[None]] = set()
        self._ended: str | None = None
        self._empty = asyncio.Event()

    def start(self, instance_id: str) -> None:
        """The host gets `started` or `unstarted`, later `exited`."""
        if self._ended is not None or len(self._waiting) >= _MAX_WAITING:
            self._tell_host({"op": "unstarted", "id": instance_id, "why": self._ended or "too many starts wait"})
            return
        instance = Instance(instance_id)
        self._live[instance_id] = instance
        self._waiting.append(instance)
        self._pump()

    def kill(self, instance_id: str) -> None:
        instance = self._live.get(instance_id)
        if instance is None:
            return
        if instance in self._waiting:
            self._waiting.remove(instance)
            self._drop(instance, "it was given up")
        else:
            instance.kill(isolated=self._isolated)

    def on_started(self, instance_id: str, steps: object, descriptors: list[int]) -> None:
        """The keeper's word, with the pidfd, which is taken from `descriptors`."""
        instance = self._answered(instance_id)
        if instance is None or len(descriptors) != 1:
            self._on_breach("its keeper broke the protocol")
            return
        instance.pidfd = descriptors.pop()
        asyncio.get_running_loop().add_reader(instance.pidfd, self._on_exit, instance)
        instance.steps_ms["keeper"] = (time.perf_counter() - instance.asked_at) * 1000
        if isinstance(steps, list):
            named = zip(_keeper_steps, steps, strict=False)
            instance.steps_ms |= {name: value / 1000 for name, value in named if isinstance(value, int)}
        if instance.asked:
            instance.kill(isolated=self._isolated)
        self._hand_over(instance)
        self._pump()

    def on_refused(self, instance_id: str, why: str) -> None:
        instance = self._answered(instance_id)
        if instance is None:
            self._on_breach("its keeper broke the protocol")
            return
        self._drop(instance, f"the instance was refused: {why}")
        self._pump()

    def end(self, reason: str, *, asked: bool) -> None:
        """No more starts; what was not handed over is dropped. Without namespaces, kill: nothing else would.

        `asked`: the host wants it so, and that is how the ends of the others are told.
        """
        self._ended = f"the template ended: {reason}"
        for timer in self._in_flight.values():
            timer.cancel()
        self._in_flight.clear()
        self._waiting.clear()
        for instance in list(self._live.values()):
            instance.asked = instance.asked or asked
            if instance.pidfd < 0:
                self._drop(instance, self._ended)
            elif not self._isolated:
                instance.kill(isolated=False)

    async def all_gone(self) -> None:
        """Once every process has ended and been buried. The stock goes too."""
        if self._live:
            self._empty.clear()
            await self._empty.wait()
        self._stock.close()

    def _pump(self) -> None:
        while self._waiting and len(self._in_flight) < _IN_FLIGHT and self._ended is None:
            instance = self._waiting.popleft()
            try:
                self._ask_keeper(instance)
            except (OSError, CgroupError, NoIdsLeft) as exc:
                self._drop(instance, str(exc))

    def _ask_keeper(self, instance: Instance) -> None:
        started = time.perf_counter()
        instance.steps_ms["queue"] = (started - instance.asked_at) * 1000
        kit = instance.kit = self._stock.take()
        instance.asked_at = time.perf_counter()
        instance.steps_ms["groups"] = (instance.asked_at - started) * 1000
        loop = asyncio.get_running_loop()
        self._in_flight[instance.id] = loop.call_later(_START_TIMEOUT_S, self._on_breach, "its keeper hangs")
        name = "" if kit.group is None else kit.group.name
        descriptors, kit.descriptors = kit.descriptors, []
        self._tell_keeper({"op": "start", "id": instance.id, "name": name, "uid": kit.uid}, descriptors)

    def _answered(self, instance_id: str) -> Instance | None:
        """What the keeper answers about; None where it was not asked."""
        timer = self._in_flight.pop(instance_id, None)
        if timer is None:
            return None
        timer.cancel()
        return self._live.get(instance_id)

    def _hand_over(self, instance: Instance) -> None:
        assert instance.kit is not None
        group = instance.group
        message = {
            "op": "started",
            "id": instance.id,
            "steps_ms": instance.steps_ms,
            "memory_file": None if group is None else group.memory_file,
            "cpu_file": None if group is None else group.cpu_file,
        }
        self._tell_host(message, instance.kit.take_host_ends())

    def _drop(self, instance: Instance, why: str) -> None:
        """It never ran, as far as the host is concerned."""
        if not instance.buried:
            self._bury(instance, {"op": "unstarted", "id": instance.id, "why": why})

    def _on_exit(self, instance: Instance) -> None:
        asyncio.get_running_loop().remove_reader(instance.pidfd)
        status = linux.pidfd_info(instance.pidfd)
        message = exit_message(status, instance.group, asked=instance.asked)
        os.close(instance.pidfd)
        instance.pidfd = -1
        self._bury(instance, {"op": "exited", "id": instance.id, **message})

    def _bury(self, instance: Instance, message: dict[str, Any]) -> None:
        instance.buried = True
        task = asyncio.get_running_loop().create_task(self._remove(instance, message))
        self._burials.add(task)
        task.add_done_callback(self._burials.discard)

    async def _remove(self, instance: Instance, message: dict[str, Any]) -> None:
        """Once its groups are gone, its user id is free and the host may know."""
        if instance.kit is not None:
            instance.kit.close_host_ends()
            with contextlib.suppress(OSError):
                await remove_group(instance.group)
            self._stock.give_back(instance.kit)
        self._live.pop(instance.id, None)
        self._tell_host(message)
        if not self._live:
            self._empty.set()
