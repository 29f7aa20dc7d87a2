"""One revision as the warden sees it: its groups, its keeper, its instances, from the first mkdir to the last rmdir."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from isotherm.warden.cgroups import CgroupError, Group, GroupLimits
from isotherm.warden.egress import EgressDesk
from isotherm.warden.facilities import Facilities, reap
from isotherm.warden.instance import describe_end, remove_group
from isotherm.warden.instances import Instances, Tell
from isotherm.warden.kit import KitStock
from isotherm.warden.launching import Launched, LaunchFailed
from isotherm.warden.network import NetworkError, RevisionNetwork
from isotherm.warden.nurseries import Nurseries
from isotherm.warden.nursery import LaunchOrder
from isotherm.warden.ranges import NoIdsLeft
from isotherm.warden.request import Prepare
from isotherm.warden.tree import CODE, DEPS, OPT
from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Revision"]

_HANG_UP_TIMEOUT_S = 1.0
_MAX_NAMESPACES = 4096
_KEEPER_GROUP, _TEMPLATE_GROUP = "keeper", "template"


class Revision:
    """`on_gone` is called once nothing of it is left."""

    def __init__(
        self,
        request: Prepare,
        facilities: Facilities,
        nurseries: Nurseries,
        egress: EgressDesk,
        tell: Tell,
        on_gone: Callable[[Revision], None],
    ) -> None:
        self.id = request.id
        self._request = request
        self._have = facilities
        self._nurseries = nurseries
        self._egress = egress
        self._network: RevisionNetwork | None = None
        self._gate = ""
        self._tell = tell
        self._on_gone = on_gone
        self._group: Group | None = None
        self._id_base: int | None = None
        self._instances: Instances | None = None
        self._channel: AsyncChannel | None = None
        self._launched: Launched | None = None
        self._pidfd = -1
        self._ready = False
        self._prepared = False  # the host has its answer
        self._reason: str | None = None  # why it ends
        self._asked = False  # whether the host wants it to
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper_gone = asyncio.Event()

    # Building

    def prepare(self) -> None:
        """Start building; the host gets `prepared` or `unprepared`, later `closed`."""
        self._spawn(self._prepare())

    async def _prepare(self) -> None:
        try:
            await self._launch()
        except NetworkError as exc:
            self._fail("not_isolated", str(exc))
        except (LaunchFailed, CgroupError, NoIdsLeft, OSError, ValueError) as exc:
            self._fail("unavailable", f"the sandbox could not be built: {exc}")

    async def _launch(self) -> None:
        request, have = self._request, self._have
        joins: list[int] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, output_end = os.pipe()
        try:
            for path in (request.code_dir, request.deps_dir, request.layers_dir):
                if path is not None:
                    os.close(have.open_in_host_dir(path))  # a bad path is found here, where it can be told
            self._id_base = have.ranges.take()
            joins = self._make_groups()
            os.set_blocking(output, False)
            interpreter = have.interpreter(request.runtime)
            self._open_network()
            network = [] if self._network is None else [self._network.namespace_fd]
            order = self._order(interpreter.prefixes)
            self._nurseries.launch(request.tenant, have.python, order, [theirs.fileno(), *network, *joins])
            self._launched = Launched()
            self._channel = AsyncChannel(ours, self._on_message, self._on_channel_closed)
            self._instances = self._make_instances(self._channel)
            self._tell({"op": "output", "id": self.id}, [output])
            output = -1
            theirs.close()
            self._pidfd = await self._launched.pidfd()
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_keeper_end)
            self._check_network()
            tasks = self._template_join_files()
            self._channel.send(self._boot().to_message(), [os.dup(output_end), *tasks])
        finally:
            close_all([*joins, output_end, *([output] if output >= 0 else [])])
            theirs.close()
            if self._channel is None:
                ours.close()

    def _order(self, prefixes: tuple[str, ...]) -> LaunchOrder:
        assert self._id_base is not None
        return LaunchOrder(
            isolated=self._have.isolated,
            host_dir=self._have.host_dir,
            host_uid=self._have.host_uid,
            code_dir=self._request.code_dir,
            deps_dir=self._request.deps_dir,
            layers_dir=self._request.layers_dir,
            id_base=self._id_base,
            tmp_bytes=self._request.limits.tmp_bytes,
            egress=self._network is not None,
            prefixes=prefixes,
        )

    def _open_network(self) -> None:
        """Where it may reach something: a network namespace, served by the egress process. Raises `NetworkError`."""
        rules = self._request.egress
        if rules is not None and self._have.isolated:
            self._network = RevisionNetwork()
            self._gate = self._egress.open(self.id, rules, self._network, self._tell)

    def _check_network(self) -> None:
        """Whatever built the sandbox, it must be in the namespace that was made for it. Raises `NetworkError`."""
        if self._network is None:
            return
        inode = os.stat(f"/proc/{linux.pid_of(self._pidfd)}/ns/net").st_ino
        if inode != self._network.inode:
            raise NetworkError("the sandbox is in another network namespace than its own")

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

    def _make_instances(self, channel: AsyncChannel) -> Instances:
        owner_base = self._id_base if self._have.isolated else None
        stock = KitStock(self._group, self._instance_limits(), owner_base)
        return Instances(stock, channel.send, self._tell, self.close, isolated=self._have.isolated)

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
        layers = "" if request.layers_dir is None else OPT
        if layers and not self._have.isolated:
            layers = f"{host}/{request.layers_dir}"
        return KeeperBoot(
            config=request.config,
            path=path,
            layers=layers,
            template=request.template,
            threads=request.threads,
            tmp_bytes=request.limits.tmp_bytes,
            memory_bytes=request.limits.memory_bytes,
            init_timeout_s=request.init_timeout_s,
            isolated=self._have.isolated,
            groups=0 if self._group is None else len(self._group.directories),
            seccomp=self._have.seccomp,
            max_namespaces=_MAX_NAMESPACES,
            own_network=self._network is None,
            executable=self._have.interpreter(request.runtime).executable,
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
            elif operation == "started" and self._instances is not None:
                self._instances.on_started(str(message.get("id")), message.get("steps_us"), descriptors)
            elif operation == "refused" and self._instances is not None:
                self._instances.on_refused(str(message.get("id")), str(message.get("why"))[:500])
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
        if self._ready and self._reason is None and self._instances is not None:
            self._instances.start(instance_id)
        else:
            self._tell({"op": "unstarted", "id": instance_id, "why": self._reason or "the template is not ready"})

    def kill(self, instance_id: str) -> None:
        if self._instances is not None:
            self._instances.kill(instance_id)

    # The end

    def close(self, reason: str, *, asked: bool = False) -> None:
        """End it and all its instances; `closed` follows once nothing is left. Harmless when it ends already."""
        if self._reason is None:
            self._reason, self._asked = reason, asked
            self._spawn(self._end())

    async def _end(self) -> None:
        assert self._reason is not None
        if self._launched is not None and self._pidfd < 0:
            with contextlib.suppress(LaunchFailed):
                self._pidfd = await self._launched.pidfd()
                asyncio.get_running_loop().add_reader(self._pidfd, self._on_keeper_end)
        if self._instances is not None:
            self._instances.end(self._reason, asked=self._asked)
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._keeper_gone.wait()
            os.close(self._pidfd)
        if self._instances is not None:
            await self._instances.all_gone()
        if self._channel is not None:
            self._channel.close()
        if self._network is not None:
            await self._egress.close(self._gate)
            self._network.close()
        await self._remove_groups()
        if self._id_base is not None:
            self._have.ranges.give_back(self._id_base)
        self._tell({"op": "closed", "id": self.id, "reason": self._reason})
        self._on_gone(self)

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
