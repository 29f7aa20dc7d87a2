"""The only place where concrete things meet: settings become the rooms of control, its API and its controllers."""

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from isotherm.api.app import Api
from isotherm.api.port import ApiServices, LogBus
from isotherm.aws.lambda_api.call import Services as AwsServices
from isotherm.base.clock import Clock, SystemClock
from isotherm.base.runtimes import runtimes
from isotherm.base.settings import Settings
from isotherm.bus.board import HostBoard
from isotherm.bus.fanout import Fanout
from isotherm.bus.latest import Latest
from isotherm.bus.progress import ProgressBook
from isotherm.bus.warmth import WarmthBoard
from isotherm.controllers.deploy import DeployController
from isotherm.controllers.link import SETTLE_S, LinkServer
from isotherm.controllers.process import ControlParts, ReadyLine
from isotherm.controllers.queues import HostQueues
from isotherm.controllers.retention import SweepController
from isotherm.controllers.rollouts import RolloutController
from isotherm.controllers.warming import WarmingController
from isotherm.db.places import Databases, open_databases
from isotherm.events.denials import Denials
from isotherm.events.service import EventLog
from isotherm.functions.development import Leases
from isotherm.functions.heads import Heads
from isotherm.functions.layers import Layers
from isotherm.functions.packages import PackageLimits
from isotherm.functions.policy import url_path
from isotherm.functions.pruning import Pruning
from isotherm.functions.rollouts import FunctionRollouts
from isotherm.functions.service import Functions
from isotherm.functions.sources import EventSources
from isotherm.functions.time_limits import PlatformLimits
from isotherm.records.model import Retention
from isotherm.records.service import Records
from isotherm.sigv4.caller import CallerSeal
from isotherm.storage.drivers.objects import open_objects
from isotherm.storage.vault import Vault, create_master_key
from isotherm.tenancy.logins import Logins
from isotherm.tenancy.quotas import Quotas
from isotherm.tenancy.sealed import SealedSecrets
from isotherm.tenancy.secrets import Secrets
from isotherm.tenancy.service import Tenancy
from isotherm.tenancy.users import Users
from isotherm.warming.budgets import platform_budget
from isotherm.warming.drivers.cache import PLACE
from isotherm.warming.view import WarmthSummary
from isotherm.wire.boot import ControlBoot
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.quota import default_quota
from isotherm.wire.telemetry import Batch, LogLine
from isotherm.workloads.desired import DesiredFeed
from isotherm.workloads.rollout_model import Reading
from isotherm.workloads.service import Workloads
from isotherm.workloads.uses import WorkloadSecrets

if TYPE_CHECKING:
    from isotherm.warming.service import Warming

__all__ = ["Rooms", "build_aws", "build_control", "build_pruning", "build_rooms", "isotherm_version"]

_megabyte = 1024 * 1024
_day_s = 86400.0
_forecast_series = 400  # the busiest workloads: how many calls others get says nothing of how warm to keep them
_settled_s = 1.5  # after a minute has begun, what hosts counted in the last one is here


def isotherm_version() -> str:
    return importlib.metadata.version("isotherm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """The services of the control wing over one data folder."""

    tenancy: Tenancy
    users: Users
    logins: Logins
    quotas: Quotas
    secrets: Secrets
    workloads: Workloads
    functions: Functions
    leases: Leases
    rollouts: FunctionRollouts
    records: Records
    events: EventLog
    clock: Clock
    denials: Denials
    feed: DesiredFeed
    databases: Databases
    vault: Vault
    caller_seal: CallerSeal

    def close(self) -> None:
        """Write down what is only counted so far, and let go of the databases."""
        self.denials.flush()
        self.tenancy.flush_uses()
        self.databases.close()


def build_rooms(
    settings: Settings, data_dir: Path, content_url: str, *, environ: Mapping[str, str], clock: Clock | None = None
) -> Rooms:
    """Open (or make) the state in `data_dir`. Raises `Unavailable` (a newer schema), `Invalid` (keys, URL, budget)."""
    platform_budget(settings.warming_budget)
    clock = clock or SystemClock()
    vault = Vault(create_master_key(data_dir, environ))
    databases = open_databases(data_dir, settings.database)
    databases.upgrade()
    log = EventLog(databases.control, clock)
    denials = Denials(log, clock)
    tenancy = Tenancy(log=log, denials=denials, vault=vault, clock=clock)
    users = Users(log=log, tenancy=tenancy, vault=vault, clock=clock, registration=settings.registration)
    logins = Logins(log=log, denials=denials, users=users, vault=vault, clock=clock)
    quotas = Quotas(log=log, tenancy=tenancy, default=default_quota(settings))
    sealed = SealedSecrets(vault)
    workloads = Workloads(log=log, vault=vault, secrets=sealed, clock=clock)
    uses = WorkloadSecrets(workloads)
    leases = Leases(log=log, workloads=workloads, clock=clock)
    functions = Functions(
        log=log,
        tenancy=tenancy,
        quotas=quotas,
        workloads=workloads,
        blobs=open_objects(str(data_dir / "blobs")),
        clock=clock,
        limits=PackageLimits(
            max_bytes=settings.max_package_mb * _megabyte, max_unpacked_bytes=settings.max_unpacked_mb * _megabyte
        ),
        runtimes=runtimes(),
        content_url=content_url,
        leases=leases,
        time_limits=PlatformLimits.of(settings),
    )
    return Rooms(
        tenancy=tenancy,
        users=users,
        logins=logins,
        quotas=quotas,
        secrets=Secrets(log=log, tenancy=tenancy, sealed=sealed, uses=uses, clock=clock),
        workloads=workloads,
        functions=functions,
        leases=leases,
        records=Records(
            databases.records,
            clock,
            vault=vault,
            retention=_retention(settings),
            spec_of=functions.spec,
            log_limits=quotas.log_limits,
            warming=settings.warming,
        ),
        rollouts=FunctionRollouts(log=log, tenancy=tenancy, workloads=workloads),
        events=log,
        clock=clock,
        denials=denials,
        feed=DesiredFeed(
            log=log, tenancy=tenancy, users=users, signing=logins.signing, quotas=quotas, workloads=workloads
        ),
        databases=databases,
        vault=vault,
        caller_seal=CallerSeal(vault),
    )


def build_control(boot: ControlBoot) -> ControlParts:
    """The control process. Call it on the event loop. Raises as `build_rooms`."""
    data_dir, clock, loop = Path(boot.data_dir), SystemClock(), asyncio.get_running_loop()
    rooms = build_rooms(boot.settings, data_dir, boot.content_url, environ=os.environ, clock=clock)
    board, progress, warmth = HostBoard(), ProgressBook(), WarmthBoard()
    logs: LogBus = Fanout()
    telemetry = ThreadPoolExecutor(1, thread_name_prefix="telemetry")
    link = LinkServer(
        source=rooms.feed,
        ingest=lambda batch: _ingest(rooms, batch, warming),
        board=board,
        on_logs=lambda lines: _fan_out(logs, lines),
        store_on=telemetry,
        clock=clock,
        isotherm_version=isotherm_version(),
    )
    warming: WarmingController | None = _warming(rooms, boot.settings, data_dir, link, board, warmth)
    deploys = DeployController(
        deploys=rooms.functions,
        link=link,
        board=board,
        progress=progress,
        url_of=lambda spec: _url(boot.content_url, spec),
        clock=clock,
        build_timeout_s=boot.settings.build_timeout_s,
    )
    readings: Latest[str, Reading] = Latest()
    rollouts = RolloutController(
        rollouts=rooms.rollouts,
        minutes=rooms.records.revision_minutes,
        link=link,
        board=board,
        readings=readings,
        clock=clock,
    )

    def settle() -> None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(link.settled(), loop).result(2 * SETTLE_S)

    pruning = build_pruning(rooms, boot.settings, board)
    revision_sweep = SweepController("revisions", pruning.sweep, idle_s=3600.0)
    services = ApiServices(
        settings=boot.settings,
        clock=clock,
        version=isotherm_version(),
        upload_dir=_fresh_folder(data_dir / "uploads"),
        caller_seal=rooms.caller_seal,
        tenancy=rooms.tenancy,
        users=rooms.users,
        logins=rooms.logins,
        quotas=rooms.quotas,
        secrets=rooms.secrets,
        functions=rooms.functions,
        pruning=pruning,
        rollouts=rooms.rollouts,
        readings=readings,
        warmth=warmth,
        records=rooms.records,
        events=rooms.events,
        board=board,
        logs=logs,
        progress=progress,
        settle=settle,
        queues=HostQueues(link),
        aws=build_aws(rooms, boot.settings, boot.content_url, board, settle),
    )
    forget = [
        rooms.feed.on_change(link.desired_changed),
        rooms.functions.on_building(deploys.announce),
        rooms.functions.on_building(lambda _: revision_sweep.wake()),
        rooms.rollouts.on_steered(rollouts.look),
    ]

    def close() -> None:
        for take_off in forget:
            take_off()
        telemetry.shutdown(cancel_futures=True)
        rooms.close()

    admin = rooms.tenancy.bootstrap_admin()
    return ControlParts(
        app=Api(services).asgi,
        link=link,
        deploys=deploys,
        rollouts=rollouts,
        warming=warming,
        sweeps=[*_sweeps(rooms), revision_sweep],
        ready=ReadyLine(
            admin_key=admin.token,
            access_key_id=admin.key.access_key_id,
            secret_access_key=admin.secret_access_key,
        ),
        stopping=services.stopping,
        close=close,
    )


def _warming(
    rooms: Rooms, settings: Settings, data_dir: Path, link: LinkServer, board: HostBoard, warmth: WarmthBoard
) -> WarmingController | None:
    """None where the settings leave it to keep-alives. What is heavy is imported once the policy is made."""
    if settings.warming == "keep_alive":
        return None
    budget = platform_budget(settings.warming_budget)
    os.environ.setdefault(PLACE, str(data_dir / "compiled"))

    def make(now_ms: int) -> "Warming":
        from isotherm.forecast.live import LiveForecasts
        from isotherm.forecast.versions import models_folder
        from isotherm.warming.service import Options, Warming

        minute_s = settings.warming_minute_s
        interval_s = min(settings.warming_interval_s, minute_s / 6)
        options = Options(
            minute_s=minute_s,
            lead_s=max(minute_s / 6, interval_s),
            settle_s=min(_settled_s, minute_s / 2),
            budget=budget,
        )
        forecasts = None
        if minute_s == 60:  # what days and hours are like is learned in minutes
            folder = models_folder(settings.forecast_models, data_dir)
            forecasts = LiveForecasts(folder, now_ms // 60_000, limit=_forecast_series)
        return Warming(options, forecasts)

    def show(found: "Warming") -> None:
        from isotherm.warming.shown import summary_of, view_of

        warmth.open(partial(view_of, found))
        warmth.sum_up(summary_of(found))

    return WarmingController(
        make=make,
        source=rooms.feed,
        records=rooms.records,
        link=link,
        board=board,
        show=show,
        give_up=lambda why: warmth.sum_up(WarmthSummary(policy="keep_alive", why=why)),
        clock=rooms.clock,
        interval_s=settings.warming_interval_s,
    )


def build_aws(
    rooms: Rooms, settings: Settings, content_url: str, board: HostBoard, settle: Callable[[], None]
) -> AwsServices:
    """What AWS's APIs work on."""
    return AwsServices(
        functions=rooms.functions,
        heads=Heads(log=rooms.events, tenancy=rooms.tenancy, workloads=rooms.workloads, clock=rooms.clock),
        layers=Layers(log=rooms.events, tenancy=rooms.tenancy, clock=rooms.clock),
        sources=EventSources(log=rooms.events, tenancy=rooms.tenancy, clock=rooms.clock),
        quotas=rooms.quotas,
        vault=rooms.vault,
        clock=rooms.clock,
        settings=settings,
        content_url=content_url,
        warm_of=lambda namespace, name, ids: _warm(board, namespace, name, ids),
        settle=settle,
    )


def build_pruning(rooms: Rooms, settings: Settings, board: HostBoard) -> Pruning:
    """In use is what a host holds now, or what the records have calls of."""

    def in_use(ids: Collection[str], since_ms: int) -> set[str]:
        return rooms.records.called_since(ids, since_ms) | board.held_revisions()

    return Pruning(
        log=rooms.events,
        tenancy=rooms.tenancy,
        workloads=rooms.workloads,
        clock=rooms.clock,
        keep_last=settings.keep_revisions,
        keep_days=settings.keep_revision_days,
        in_use=in_use,
    )


def _sweeps(rooms: Rooms) -> list[SweepController]:
    def flush_denials() -> int:
        rooms.denials.flush()
        return 0

    return [
        SweepController("records", lambda: rooms.records.sweep().rows, idle_s=10.0),
        SweepController("denials", flush_denials),
        SweepController("development functions", rooms.leases.sweep),
        SweepController("logins", rooms.logins.sweep),
        SweepController("uses of keys", rooms.tenancy.flush_uses, idle_s=5.0),
        SweepController("packages", rooms.functions.sweep_packages, idle_s=3600.0),
    ]


def _ingest(rooms: Rooms, batch: Batch, warming: WarmingController | None) -> bool:
    """Whether it is new."""
    for key_id, at_ms in batch.keys_used.items():
        rooms.tenancy.key_used(key_id, at_ms)
    new = rooms.records.ingest(batch)
    if new and warming is not None:
        warming.took(batch)
    return new


def _retention(settings: Settings) -> Retention:
    return Retention(
        invocations_s=settings.record_days * _day_s,
        max_invocations=settings.record_limit,
        receipts_s=settings.receipt_days * _day_s,
        max_receipts=settings.receipt_limit,
        logs_s=settings.log_days * _day_s,
        max_log_bytes=settings.log_limit_mb * _megabyte,
        max_event_bytes=settings.event_limit_mb * _megabyte,
    )


def _fan_out(logs: LogBus, lines: Iterable[LogLine]) -> None:
    for line in lines:
        logs.publish((line.namespace, line.name), line)


def _url(content_url: str, spec: RevisionSpec) -> str:
    return content_url.rstrip("/") + url_path(spec.namespace, spec.name)


def _warm(board: HostBoard, namespace: str, name: str, ids: Collection[str]) -> int:
    """Instances of these revisions that take calls now, on all hosts."""
    states = [state for state in board.states(namespace, name) if state.revision_id in ids]
    return sum(state.temperatures.get(kind, 0) for state in states for kind in ("hot", "warm", "spare"))


def _fresh_folder(folder: Path) -> str:
    """Empty: what a former process left there belongs to nobody."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return str(folder)
