"""The host process put together: what it is made of, how it starts, what it does every so often, how it stops."""

import asyncio
import contextlib
import gc
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from isotherm.base.clock import SystemClock
from isotherm.base.errors import Invalid, IsothermError
from isotherm.base.ids import new_id
from isotherm.base.runtimes import runtimes
from isotherm.base.settings import Settings
from isotherm.gateway.debugger import Debugging
from isotherm.gateway.events import EventIntake
from isotherm.gateway.keys import KeyRing
from isotherm.gateway.operations import ApiOperations
from isotherm.gateway.plan import Planner
from isotherm.gateway.ports import ApiPort, ContentPort, FunctionPort
from isotherm.gateway.request import http_limits
from isotherm.gateway.routes import RouteTable
from isotherm.gateway.signed import Signatures
from isotherm.host.desired import DesiredStore
from isotherm.host.identity import cores, host_id, isotherm_version, machine_memory_bytes, own_usage
from isotherm.host.link import LinkClient
from isotherm.host.materials import MaterialStore
from isotherm.host.metrics import HostMetrics
from isotherm.host.orders import OrderDesk
from isotherm.host.queue_store import queue_store
from isotherm.host.shipping import Shipper
from isotherm.host.spool import Spool
from isotherm.host.state import HostState
from isotherm.host.uses import Uses
from isotherm.invocations.allowance import LogRates
from isotherm.invocations.recorder import Recorder
from isotherm.pool.model import limits_from
from isotherm.pool.service import Pool
from isotherm.pool.templates import DriverSlot
from isotherm.pool.tenants import Tenants
from isotherm.queue.desk import QueueDesk
from isotherm.queue.model import queue_limits
from isotherm.queue.service import Queue
from isotherm.queue.triggers import Triggers
from isotherm.sandbox.port import Driver
from isotherm.sigv4.caller import CallerSeal
from isotherm.storage.port import Blobs
from isotherm.storage.vault import Vault
from isotherm.telemetry.logging import get_logger
from isotherm.wire.boot import HostBoot
from isotherm.wire.desired import DESIRED_FORMAT, Desired
from isotherm.wire.link import PROTOCOL, Hello, Order
from isotherm.wire.quota import default_quota
from isotherm.wire.warmth import Warmth

__all__ = ["HostService"]

TICK_S = 0.02
TICKS_PER_ROUND = 50
SWEEP_ROUNDS = 600  # unused code and dependencies are looked for this often, in rounds of a second
MEASURE_ROUNDS = 15  # the disk that namespaces use is measured this often
BACKLOG = 4096
QUEUE_RETRY_S = 5.0


class HostService:
    """Everything of one host process. Made and used on its loop."""

    def __init__(self, boot: HostBoot, vault: Vault, blobs: Blobs, driver: Driver) -> None:
        settings = boot.settings
        folder = Path(boot.data_dir) / "host"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        clock = SystemClock()
        self._boot = boot
        self._folder = folder
        self._driver = driver
        self._probes: dict[str, Any] = {}
        self._host_id = host_id(folder)
        self._version = isotherm_version()
        self._boot_id = new_id("boot")
        self.recorder = Recorder(clock, _log_rates(settings))
        self.pool, self.materials = _pool_and_materials(boot, folder, blobs, self.recorder, clock)
        self.store = DesiredStore(folder / "desired.bin", vault)
        self.routes = RouteTable(
            self.store.revision, self.pool.revision, monotonic, self.pool.tenants, self.pool.under_way
        )
        self.keys = KeyRing(clock.time_ms, vault)
        calls = queue_store(settings, folder, vault, self._host_id)
        self.queue = Queue(calls, self.routes, queue_limits(settings), clock, settings.region)
        self.triggers = Triggers(self.queue, calls.clock(clock), settings.region)
        self.state = HostState(
            self.store, self.routes, self.keys, self.pool, self.triggers, self.recorder, self.materials.disk
        )
        self.link = LinkClient(boot.link_path, self)
        self.orders = OrderDesk(self.pool, self.materials, QueueDesk(self.queue, calls), self.link.send)
        spool = Spool(folder / "spool", vault, settings.spool_mb * 1024 * 1024)
        self.uses = Uses(self.pool.tenants, self.materials.disk)
        self.shipper = Shipper(
            self._host_id,
            self._boot_id,
            self.recorder,
            spool,
            clock,
            self.pool.states,
            self._facts,
            self.uses.now,
            self.keys.take_used,
        )
        self.shipper.uplink = self.link
        signatures = Signatures(self.keys, settings.region, clock.time_ms)
        planner = Planner(self.routes, self.keys, signatures)
        limits = http_limits(settings)
        self.content = ContentPort(limits, planner)
        self._ports: dict[str, FunctionPort] = {"content": self.content}
        metrics = HostMetrics(self.recorder, self.pool, self.queue, self._ports, boot.api_path, self.uses)
        package_bytes = (settings.max_package_mb * 4 // 3 + 1) * 1024 * 1024  # in base64 it takes a third more
        operations = ApiOperations(
            self.keys,
            signatures,
            CallerSeal(vault),
            self,
            metrics.text,
            boot.api_path,
            package_bytes,
            Debugging(self.keys, self.routes),
        )
        self.api = ApiPort(limits, planner, operations, EventIntake(self.queue))
        self._ports["api"] = self.api
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._stopping = False
        self._log = get_logger("host")

    # -- start and stop ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve from what is on disk; then look for control."""
        await asyncio.to_thread(self.store.load)
        self.state.start()
        self.queue.held = self.store.epoch is None  # there is nothing to call yet, and calls would become dead letters
        self.pool.attach(self._driver)
        queue_open = await self._open_queue()
        gc.collect()
        gc.freeze()  # what was loaded lives as long as the process
        gc.set_threshold(20_000, 20, 20)
        await self._listen()
        self._tick()
        self._tasks = [
            asyncio.create_task(self._keep_running("telemetry", self.shipper.run)),
            asyncio.create_task(self._keep_running("link", self._probe_then_link)),
        ]
        if not queue_open:
            self._tasks.append(asyncio.create_task(self._open_queue_later()))
        self._log.info("serving", url=self._boot.url, content_url=self._boot.content_url, items=len(self.store))

    async def stop(self) -> None:
        """Take no new connections, let running calls end, end every instance, keep what telemetry there is."""
        self._stopping = True
        for server in self._servers:
            server.close()
        for port in self._ports.values():
            port.drain()
        await self.orders.close()
        self.queue.stop()
        await self.pool.drain(self._boot.settings.drain_timeout_s)
        await self.queue.close()
        for port in self._ports.values():
            port.drain()
        if self._timer is not None:
            self._timer.cancel()
        await self.shipper.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()
        with contextlib.suppress(TimeoutError, IsothermError):
            async with asyncio.timeout(5.0):
                await self._driver.close()

    def not_ready(self) -> str | None:
        """See `gateway.operations.Readiness`."""
        if self._stopping:
            return "this host is draining"
        if not self._probes:
            return "the sandbox driver is not there yet"
        if self.store.epoch is None:
            return "control has not yet said what to serve"
        return None

    # -- the link's user -----------------------------------------------------------------------------------------------

    def hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            host_id=self._host_id,
            boot_id=self._boot_id,
            isotherm_version=self._version,
            epoch=self.store.epoch if self.store.format >= DESIRED_FORMAT else None,  # None: it is told everything
            version=self.store.version,
            probes=self._probes,
            runtimes=runtimes(),
        )

    def desired(self, desired: Desired) -> None:
        self.state.apply(desired)
        self.queue.held = False

    def order(self, order: Order) -> None:
        self.orders.take(order)

    def warmth(self, warmth: Warmth) -> None:
        self.pool.steer(warmth, self.store.revision)

    async def acknowledged(self, boot_id: str, sequence: int) -> None:
        await self.shipper.acknowledged(boot_id, sequence)

    async def connected(self) -> None:
        await self.shipper.send_waiting()

    def disconnected(self) -> None:
        self.shipper.disconnected()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)  # first: also when what follows fails
        self._ticks += 1
        self.pool.tick()
        self.recorder.tick()
        self.queue.tick()
        if self._ticks % TICKS_PER_ROUND == 0:
            self._round()

    def _round(self) -> None:
        """About every second."""
        self.state.keep_warm()
        self.triggers.tick()
        self.pool.maintain(self.routes.referenced)
        for port in self._ports.values():
            port.tick()
        if self._ticks % (TICKS_PER_ROUND * SWEEP_ROUNDS) == 0:
            self.pool.spawn(self._sweep())
        if self._ticks % (TICKS_PER_ROUND * MEASURE_ROUNDS) == 0:
            self.pool.spawn(self.uses.measure())

    async def _open_queue(self) -> bool:
        """Whether it is open. Calls that are waited for go on without it."""
        try:
            await self.queue.start()
        except IsothermError as error:
            self._log.error("asynchronous calls are refused", problem=error.message)
            return False
        return True

    async def _open_queue_later(self) -> None:
        while True:
            await asyncio.sleep(QUEUE_RETRY_S)
            if await self._open_queue():
                self._log.info("asynchronous calls are taken again")
                return

    async def _keep_running(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Calls must go on whatever breaks beside them: what ends is logged and begun anew."""
        while True:
            try:
                await run()
            except Exception:  # noqa: BLE001 -- a bug in one part must not end the host; it is logged whole
                self._log.exception("a part of the host failed and is begun anew", part=name)
            await asyncio.sleep(1.0)

    async def _sweep(self) -> None:
        known = [item.revision for item in self.store.items() if item.revision is not None]
        known += [revision.spec for revision in self.pool.revisions.values()]
        await asyncio.to_thread(self.materials.sweep, known)
        if self.store.epoch is not None:
            self.triggers.sweep()

    async def _probe_then_link(self) -> None:
        while True:
            try:
                probe = await self._driver.probe()
            except IsothermError as error:
                self._log.warning("the sandbox driver does not answer", detail=error.message)
                await asyncio.sleep(0.2)
                continue
            self._probes = {probe.driver: {"isolated": probe.isolated, **msgspec.to_builtins(probe)}}
            break
        await asyncio.to_thread(runtimes)  # blocks the first time; control is told of them
        await self.link.run()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        tls = _tls(self._boot.settings)
        for port, descriptors in ((self.api, self._boot.api_fds), (self.content, self._boot.content_fds)):
            for descriptor in descriptors:
                listener = socket.socket(fileno=descriptor)
                listener.setblocking(False)
                self._servers.append(await loop.create_server(port.connection, sock=listener, backlog=BACKLOG, ssl=tls))

    def _facts(self) -> dict[str, Any]:
        return own_usage() | {"isotherm": self._version, "memory_limit_bytes": self.pool.limits.memory_bytes}


def _pool_and_materials(
    boot: HostBoot, folder: Path, blobs: Blobs, recorder: Recorder, clock: SystemClock
) -> tuple[Pool, MaterialStore]:
    drivers, tenants = DriverSlot(), Tenants(default_quota(boot.settings))
    materials = MaterialStore(folder, blobs, drivers, boot.settings, tenants)
    limits = limits_from(boot.settings, machine_memory_bytes(), cores())
    pool = Pool(limits, recorder, materials, drivers, clock, tenants=tenants)
    for name, config in (("pip.conf", boot.settings.pip_config), ("npmrc", boot.settings.npm_config)):
        path = Path(config or f"/etc/{name}")
        if path.is_file():
            shutil.copyfile(path, folder / name)
    return pool, materials


def _log_rates(settings: Settings) -> LogRates:
    return LogRates(
        bytes_per_s=settings.log_kb_per_s * 1024,
        burst_bytes=settings.log_burst_kb * 1024,
        line_bytes=settings.log_call_kb * 1024,
        namespace_bytes_per_s=None if settings.quota_log_kb_per_s is None else settings.quota_log_kb_per_s * 1024,
    )


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """Raises `Invalid` where certificate and key cannot be used."""
    if not settings.tls_cert or not settings.tls_key:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as exc:
        raise Invalid(f"the TLS certificate and key cannot be used: {exc}") from exc
    return context
