"""One revision as the warden sees it: its groups, its keeper, its instances, from the first mkdir to the last rmdir."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from isotherm.warden.cgroups import CgroupError, Group, GroupLimits
from isotherm.warden.facilities import Facilities, reap
from isotherm.warden.instance import Instance, describe_end, exit_message, remove_group
from isotherm.warden.kit import KitStock
from isotherm.warden.launching import Launched, LaunchFailed
from isotherm.warden.nurseries import Nurseries
from isotherm.warden.nursery import LaunchOrder
from isotherm.warden.ranges import NoIdsLeft, UidAllocator
from isotherm.warden.request import Prepare
from isotherm.warden.tree import CODE, DEPS
from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Revision", "Tell"]

_MAX_WAITING = 4096
_IN_FLIGHT = 2  # requests at the keeper: one that it serves, one that it finds when it is done
_START_TIMEOUT_S = 25.0
_HANG_UP_TIMEOUT_S = 1.0
_MAX_NAMESPACES = 4096
_KEEPER_GROUP, _TEMPLATE_GROUP = "keeper", "template"


class Tell(Protocol):
    """Send a message to the host; the descriptors are closed after."""

    def __call__(self, message: dict[str, Any], descriptors: list[int] = ..., /) -> None: ...


class Revision:
    """`on_gone` is called once nothing of it is left."""

    def __init__(
        self,
        request: Prepare,
        facilities: Facilities,
        nurseries: Nurseries,
        tell: Tell,
        on_gone: Callable[[Revision], None],
    ) -> None:
        self.id = request.id
        self.instances: dict[str, Instance] = {}
        self._request = request
        self._have = facilities
        self._nurseries = nurseries
        self._tell = tell
        self._on_gone = on_gone
        self._group: Group | None = None
        self._id_base: int | None = None
        self._uids = UidAllocator()
        self._stock: KitStock | None = None
        self._channel: AsyncChannel | None = None
        self._launched: Launched | None = None
        self._pidfd = -1
        self._ready = False
        self._prepared = False  # the host has its answer
        self._reason: str | None = None  # why it ends
        self._waiting: deque[Instance] = deque()
        self._in_flight: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper_gone = asyncio.Event()
        self._all_gone = asyncio.Event()

    # Building

    def prepare(self) -> None:
        """Start building; the host gets `prepared` or `unprepared`, later `closed`."""
        self._spawn(self._prepare())

    async def _prepare(self) -> None:
        try:
            await self._launch()
        except (LaunchFailed, CgroupError, NoIdsLeft, OSError, ValueError) as exc:
            self._fail("unavailable", f"the sandbox could not be built: {exc}")

    async def _launch(self) -> None:
        request, have = self._request, self._have
        joins: list[int] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, output_end = os.pipe()
        try:
            for path in (request.code_dir, request.deps_dir):
                if path is not None:
                    os.close(have.open_in_host_dir(path))  # a bad path is found here, where it can be told
            self._id_base = have.ranges.take()
            joins = self._make_groups()
            owner_base = self._id_base if have.isolated else None
            self._stock = KitStock(self._group, self._instance_limits(), self._uids, owner_base)
            os.set_blocking(output, False)
            interpreter = have.interpreter(request.runtime)
            self._nurseries.launch(request.tenant, interpreter, self._order(), [theirs.fileno(), *joins])
            self._launched = Launched()
            self._channel = AsyncChannel(ours, self._on_message, self._on_channel_closed)
            self._tell({"op": "output", "id": self.id}, [output])
            output = -1
            theirs.close()
            self._pidfd = await self._launched.pidfd()
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_keeper_end)
            tasks = self._template_join_files()
            self._channel.send(self._boot().to_message(), [os.dup(output_end), *tasks])
        finally:
            close_all([*joins, output_end, *([output] if output >= 0 else [])])
            theirs.close()
            if self._channel is None:
                ours.close()

    def _order(self) -> LaunchOrder:
        assert self._id_base is not None
        return LaunchOrder(
            isolated=self._have.isolated,
            host_dir=self._have.host_dir,
            host_uid=self._have.host_uid,
            code_dir=self._request.code_dir,
            deps_dir=self._request.deps_dir,
            id_base=self._id_base,
            tmp_bytes=self._request.limits.tmp_bytes,
        )

    def _make_groups(self) -> list[int]:
        """The revision's, the keeper's, the template's. What the keeper joins."""
        if self._have.base is None:
            return []
        limits = self._request.limits
        self._group = self._have.base.child(f"{self.id}")
        self._group.make(
            GroupLimits(
                memory_bytes=limits.revision_memory_bytes,
                cpus=float(os.cpu_count() or 1),
                pids=limits.revision_pids,
            )
        )
        self._group.delegate()
        keeper = self._group.child(_KEEPER_GROUP).without("cpu")  # it must not queue behind those that it starts
        keeper.make()
        self._group.child(_TEMPLATE_GROUP).make(self._instance_limits())
        return keeper.open_join_files()

    def _template_join_files(self) -> list[int]:
        return [] if self._group is None else self._group.child(_TEMPLATE_GROUP).open_join_files()

    def _instance_limits(self) -> GroupLimits:
        limits = self._request.limits
        return GroupLimits(memory_bytes=limits.memory_bytes, cpus=limits.cpus, pids=limits.pids)

    def _boot(self) -> KeeperBoot:
        request = self._request
        host = self._have.host_dir
        if self._have.isolated:
            path = [CODE, DEPS] if request.deps_dir is not None else [CODE]
        else:
            path = [f"{host}/{part}" for part in (request.code_dir, request.deps_dir) if part is not None]
        return KeeperBoot(
            config=request.config,
            path=path,
            template=request.template,
            threads=request.threads,
            tmp_bytes=request.limits.tmp_bytes,
            memory_bytes=request.limits.memory_bytes,
            init_timeout_s=request.init_timeout_s,
            isolated=self._have.isolated,
            groups=0 if self._group is None else len(self._group.directories),
            seccomp=self._have.seccomp,
            max_namespaces=_MAX_NAMESPACES,
        )

    # The keeper's messages

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        operation = message.get("op")
        try:
            if operation == "launched" and self._launched is not None:
                self._launched.on_message(message, descriptors)
            elif operation == "failed":
                if self._launched is not None:
                    self._launched.on_message(message, descriptors)
                self._fail("unavailable", f"the sandbox could not be built: {str(message.get('why'))[:1000]}")
            elif operation in ("ready", "problem", "died", "late") and not self._prepared:
                self._on_import(str(operation), message)
            elif operation == "started":
                self._on_started(str(message.get("id")), message.get("steps_us"), descriptors)
            elif operation == "refused":
                self._on_refused(str(message.get("id")), str(message.get("why"))[:500])
            else:
                self.close("its keeper broke the protocol")
        finally:
            close_all(descriptors)

    def _on_import(self, operation: str, message: dict[str, Any]) -> None:
        if operation == "ready":
            self._prepared = self._ready = True
            unfit = message.get("unfit")
            reasons = [str(reason)[:300] for reason in unfit[:16]] if isinstance(unfit, list) else []
            import_ms = message.get("import_ms")
            template = None if self._group is None else self._group.child(_TEMPLATE_GROUP)
            self._tell(
                {
                    "op": "prepared",
                    "id": self.id,
                    "unfit": reasons,
                    "import_ms": float(import_ms) if isinstance(import_ms, int | float) else 0.0,
                    "memory_bytes": 0 if template is None else template.memory_bytes(),
                    "memory_file": None if template is None else template.memory_file,
                }
            )
            self._pump()
        elif operation == "problem":
            head = message.get("head")
            self._fail("import_failed", "", head=head if isinstance(head, dict) else {})
        elif operation == "late":
            self._fail("timed_out", f"the import took longer than {self._request.init_timeout_s:g} s")
        else:
            self._on_import_death(message.get("status"))

    def _on_import_death(self, status: object) -> None:
        template = None if self._group is None else self._group.child(_TEMPLATE_GROUP)
        if template is not None and template.out_of_memory_kills():
            limit = self._request.limits.memory_bytes >> 20
            self._fail("out_of_memory", f"the import needs more than the limit of {limit} MB")
            return
        known = status if isinstance(status, int) and 0 <= status < 1 << 16 else None
        self._fail("died", f"the process that imported the handler ended: {describe_end(known)}")

    def _fail(self, code: str, why: str, **more: Any) -> None:
        if not self._prepared:
            self._prepared = True
            self._tell({"op": "unprepared", "id": self.id, "code": code, "why": why, **more})
        self.close(why or code)

    def _on_channel_closed(self, reason: str) -> None:
        if self._launched is not None:
            self._launched.on_closed()
        if self._pidfd < 0:
            self._fail("unavailable", f"its keeper ended ({reason})")
        elif self._reason is None:  # its end, which says more, should come now
            delay_s = _HANG_UP_TIMEOUT_S
            asyncio.get_running_loop().call_later(delay_s, self._fail, "unavailable", f"its keeper hung up ({reason})")

    def _on_keeper_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        status = reap(self._pidfd)
        self._keeper_gone.set()
        if self._reason is None:
            template = None if self._group is None else self._group.child(_TEMPLATE_GROUP)
            if template is not None and template.out_of_memory_kills():
                self._fail("unavailable", "its template ran out of memory")
            else:
                self._fail("unavailable", f"its template ended ({describe_end(status)})")

    # Instances

    def start(self, instance_id: str) -> None:
        """Make an instance; the host gets `started` or `unstarted`, later `exited`."""
        if not self._ready or self._reason is not None or len(self._waiting) >= _MAX_WAITING:
            self._tell({"op": "unstarted", "id": instance_id, "why": self._reason or "the template is not ready"})
            return
        instance = Instance(instance_id)
        self.instances[instance_id] = instance
        self._waiting.append(instance)
        self._pump()

    def kill(self, instance_id: str) -> None:
        instance = self.instances.get(instance_id)
        if instance is None:
            return
        if instance in self._waiting:
            self._waiting.remove(instance)
            self._drop(instance, "it was given up")
        else:
            instance.kill(isolated=self._have.isolated)

    def _pump(self) -> None:
        while self._waiting and len(self._in_flight) < _IN_FLIGHT and self._reason is None:
            instance = self._waiting.popleft()
            try:
                self._request_instance(instance)
            except (OSError, CgroupError, NoIdsLeft) as exc:
                self._drop(instance, str(exc))

    def _request_instance(self, instance: Instance) -> None:
        assert self._channel is not None
        assert self._stock is not None
        started = time.perf_counter()
        instance.steps_ms["queue"] = (started - instance.asked_at) * 1000
        kit = instance.kit = self._stock.take()
        instance.asked_at = time.perf_counter()
        instance.steps_ms["groups"] = (instance.asked_at - started) * 1000
        loop = asyncio.get_running_loop()
        self._in_flight[instance.id] = loop.call_later(_START_TIMEOUT_S, self.close, "its keeper hangs")
        name = "" if kit.group is None else kit.group.name
        descriptors, kit.descriptors = kit.descriptors, []
        self._channel.send({"op": "start", "id": instance.id, "name": name, "uid": kit.uid}, descriptors)

    def _on_started(self, instance_id: str, steps: object, descriptors: list[int]) -> None:
        timer = self._in_flight.pop(instance_id, None)
        instance = self.instances.get(instance_id)
        if timer is None or instance is None or len(descriptors) != 1:
            self.close("its keeper broke the protocol")
            return
        timer.cancel()
        instance.pidfd = descriptors.pop()
        loop = asyncio.get_running_loop()
        loop.add_reader(instance.pidfd, self._on_exit, instance)
        instance.steps_ms["keeper"] = (time.perf_counter() - instance.asked_at) * 1000
        if isinstance(steps, list):
            names = ("clone", "maps", "mounts", "confine", "verify")
            instance.steps_ms |= {
                name: value / 1000 for name, value in zip(names, steps, strict=False) if isinstance(value, int)
            }
        if instance.asked:
            instance.kill(isolated=self._have.isolated)
        assert instance.kit is not None
        group = instance.group
        message = {
            "op": "started",
            "id": instance.id,
            "steps_ms": instance.steps_ms,
            "memory_file": None if group is None else group.memory_file,
            "cpu_file": None if group is None else group.cpu_file,
        }
        instance.told = True
        self._tell(message, [instance.kit.host_stream.detach(), instance.kit.host_output])
        self._pump()

    def _on_refused(self, instance_id: str, why: str) -> None:
        timer = self._in_flight.pop(instance_id, None)
        instance = self.instances.get(instance_id)
        if timer is None or instance is None:
            self.close("its keeper broke the protocol")
            return
        timer.cancel()
        self._drop(instance, f"the instance was refused: {why}")
        self._pump()

    def _drop(self, instance: Instance, why: str) -> None:
        """It never ran."""
        if instance.kit is not None:
            instance.kit.close_host_ends()
        self._spawn(self._bury(instance, {"op": "unstarted", "id": instance.id, "why": why}))

    def _on_exit(self, instance: Instance) -> None:
        asyncio.get_running_loop().remove_reader(instance.pidfd)
        status = linux.pidfd_info(instance.pidfd)
        message = exit_message(status, instance.group, asked=instance.asked)
        os.close(instance.pidfd)
        instance.pidfd = -1
        self._spawn(self._bury(instance, {"op": "exited", "id": instance.id, **message}))

    async def _bury(self, instance: Instance, message: dict[str, Any]) -> None:
        """Once its groups are gone, its user id is free and the host may know."""
        await remove_group(instance.group)
        if instance.kit is not None:
            self._uids.give_back(instance.kit.uid)
        self.instances.pop(instance.id, None)
        self._tell(message)
        if not self.instances:
            self._all_gone.set()

    # The end

    def close(self, reason: str) -> None:
        """End it and all its instances; `closed` follows once nothing is left. Harmless when it ends already."""
        if self._reason is None:
            self._reason = reason
            self._spawn(self._end())

    async def _end(self) -> None:
        for timer in self._in_flight.values():
            timer.cancel()
        self._in_flight.clear()
        if self._launched is not None and self._pidfd < 0:
            with contextlib.suppress(LaunchFailed):
                self._pidfd = await self._launched.pidfd()
                asyncio.get_running_loop().add_reader(self._pidfd, self._on_keeper_end)
        for instance in list(self.instances.values()):
            self._end_instance(instance)
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        if self._pidfd >= 0:
            await self._keeper_gone.wait()
            os.close(self._pidfd)
        if self.instances:
            self._all_gone.clear()
            await self._all_gone.wait()
        if self._channel is not None:
            self._channel.close()
        if self._stock is not None:
            self._stock.close()
        await self._remove_groups()
        if self._id_base is not None:
            self._have.ranges.give_back(self._id_base)
        self._tell({"op": "closed", "id": self.id, "reason": self._reason})
        self._on_gone(self)

    def _end_instance(self, instance: Instance) -> None:
        if instance.pidfd >= 0:
            if not self._have.isolated:  # else the keeper's death is the end of all
                instance.kill(isolated=False)
        elif not instance.told:
            if instance in self._waiting:
                self._waiting.remove(instance)
            self._drop(instance, f"the template ended: {self._reason}")

    async def _remove_groups(self) -> None:
        if self._group is None:
            return
        for name in (_TEMPLATE_GROUP, _KEEPER_GROUP):
            await remove_group(self._group.child(name))
        await remove_group(self._group)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
