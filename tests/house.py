"""The rooms of control over either database, with a clock that the test moves."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from isotherm.base.clock import ManualClock
from isotherm.base.settings import Settings
from isotherm.db.engine import Database
from isotherm.db.migrate import upgrade
from isotherm.events.denials import Denials
from isotherm.events.service import EventLog
from isotherm.functions.development import Leases
from isotherm.functions.heads import Heads
from isotherm.functions.layers import Layers
from isotherm.functions.model import Deployed, FunctionConfig, Making, Package
from isotherm.functions.packages import PackageLimits
from isotherm.functions.rollouts import FunctionRollouts
from isotherm.functions.service import Functions
from isotherm.functions.sources import EventSources
from isotherm.functions.time_limits import PlatformLimits
from isotherm.storage.drivers.memory import MemoryBlobs
from isotherm.storage.vault import Vault
from isotherm.tenancy.logins import Logins
from isotherm.tenancy.model import Grant, Principal, Tokens
from isotherm.tenancy.passwords import Hasher
from isotherm.tenancy.quotas import Quotas
from isotherm.tenancy.sealed import SealedSecrets
from isotherm.tenancy.secrets import Secrets
from isotherm.tenancy.service import Tenancy
from isotherm.tenancy.users import Users
from isotherm.wire.desired import Role
from isotherm.wire.quota import Quota
from isotherm.workloads.desired import DesiredFeed
from isotherm.workloads.service import Workloads
from isotherm.workloads.uses import WorkloadSecrets
from tests.databases import Databases

__all__ = ["PASSWORD", "House", "house", "open_house", "zipped"]

PASSWORD = "correct horse battery"


def zipped(**files: str) -> bytes:
    """A zip; `app="…"` is the file app.py."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.py"), text)
    return content.getvalue()


@dataclass
class House:
    clock: ManualClock
    database: Database
    vault: Vault
    log: EventLog
    denials: Denials
    tenancy: Tenancy
    users: Users
    logins: Logins
    quotas: Quotas
    secrets: Secrets
    workloads: Workloads
    functions: Functions
    rollouts: FunctionRollouts
    heads: Heads
    layers: Layers
    sources: EventSources
    feed: DesiredFeed
    blobs: MemoryBlobs
    admin: Principal

    def principal(self, role: Role, namespace: str = "default") -> Principal:
        """One that holds a fresh key of this role."""
        return self.tenancy.authenticate(self.tenancy.create_key(self.admin, namespace, name=role, role=role).token)

    def user(self, name: str, *grants: Grant, password: str = PASSWORD) -> Tokens:
        """A user who has these roles, and has just chosen a password."""
        made = self.users.invite(self.admin, name, grants)
        return self.logins.register(name=None, password=password, invitation=made.invitation)

    def package(self, namespace: str = "default", **files: str) -> str:
        """The digest of an uploaded package."""
        content = zipped(**(files or {"app": "def handler(event, context): return event"}))
        return self.functions.upload_package(self.admin, namespace, content).digest

    def deploy(self, name: str = "hello", namespace: str = "default", **settings: object) -> Deployed:
        if "package" not in settings:
            settings["package"] = self.package(namespace)
        config = FunctionConfig(**settings)  # type: ignore[arg-type]  # tests also give what is refused
        return self.functions.deploy(self.admin, namespace, name, config)

    def deploy_ready(self, name: str = "hello", namespace: str = "default", **settings: object) -> int:
        """The number of a revision that is ready and live."""
        revision = self.deploy(name, namespace, **settings).revision
        self.functions.mark_ready(revision.id, template=True, unfit=[], elapsed_ms=5.0)
        return revision.number

    def head_ready(self, name: str = "hello", namespace: str = "default", **settings: object) -> int:
        """As `deploy_ready`, of a head: the number of its revision."""
        config = FunctionConfig(package=self.package(namespace), **settings)  # type: ignore[arg-type]  # as above
        revision = self.functions.deploy(self.admin, namespace, name, config, making=Making(head=True)).revision
        self.functions.mark_ready(revision.id, template=True, unfit=[], elapsed_ms=5.0)
        return revision.number

    def layer(self, name: str = "base", namespace: str = "default") -> str:
        """NAME:VERSION of a layer just published."""
        package: Package = self.functions.upload_package(self.admin, namespace, zipped(shared="X = 1"))
        return f"{name}:{self.layers.publish(self.admin, namespace, name, package).version}"

    def stored(self) -> bytes:
        """All that is at rest: on SQLite the files, else every cell of every table. The database is closed."""
        self.database.close()
        path = Path(self.database.engine.url.database or "")
        if self.database.is_sqlite:
            return b"".join(part.read_bytes() for part in path.parent.iterdir())
        tables = MetaData()
        with self.database.read() as session:
            tables.reflect(session.connection())
            rows = [row for table in tables.sorted_tables for row in session.execute(table.select())]
        cells = (cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)
        return b"\n".join(cells)

    def kinds(self, limit: int = 1000) -> list[str]:
        """Kinds of all events, the oldest first."""
        return [entry.kind for entry in self.log.entries(limit=limit, newest_first=False).items]


def open_house(folder: Path, databases: Databases, *, snapshot_every: int = 50) -> House:
    """The state that belongs to `folder`, made where it is missing."""
    clock = ManualClock()
    database = databases.open(folder / "control.db")
    upgrade(database, "control")
    vault = Vault(bytes(range(32)))
    log = EventLog(database, clock, snapshot_every=snapshot_every)
    denials = Denials(log, clock)
    tenancy = Tenancy(log=log, denials=denials, vault=vault, clock=clock)
    users = Users(log=log, tenancy=tenancy, vault=vault, clock=clock)
    hasher = Hasher(memory_kib=64, passes=1)  # as cheap as can be
    logins = Logins(log=log, denials=denials, users=users, vault=vault, clock=clock, hasher=hasher)
    quotas = Quotas(log=log, tenancy=tenancy, default=Quota())
    sealed = SealedSecrets(vault)
    workloads = Workloads(log=log, vault=vault, secrets=sealed, clock=clock)
    secrets = Secrets(log=log, tenancy=tenancy, sealed=sealed, uses=WorkloadSecrets(workloads), clock=clock)
    blobs = MemoryBlobs()
    leases = Leases(log=log, workloads=workloads, clock=clock)
    functions = Functions(
        log=log,
        tenancy=tenancy,
        quotas=quotas,
        workloads=workloads,
        blobs=blobs,
        clock=clock,
        limits=PackageLimits(),
        runtimes=["python3.11"],
        content_url="http://localhost:7071/",
        leases=leases,
        time_limits=PlatformLimits.of(Settings()),
    )
    rollouts = FunctionRollouts(log=log, tenancy=tenancy, workloads=workloads)
    feed = DesiredFeed(
        log=log, tenancy=tenancy, users=users, signing=logins.signing, quotas=quotas, workloads=workloads
    )
    admin = tenancy.authenticate(tenancy.bootstrap_admin().token)
    return House(
        clock,
        database,
        vault,
        log,
        denials,
        tenancy,
        users,
        logins,
        quotas,
        secrets,
        workloads,
        functions,
        rollouts,
        Heads(log=log, tenancy=tenancy, workloads=workloads, clock=clock),
        Layers(log=log, tenancy=tenancy, clock=clock),
        EventSources(log=log, tenancy=tenancy, clock=clock),
        feed,
        blobs,
        admin,
    )


@pytest.fixture
def house(tmp_path: Path, databases: Databases) -> House:
    return open_house(tmp_path, databases)
