"""The verbs of functions. Every one checks its permission; all are thread-safe.

A function in a namespace where the principal has no role answers `NotFound`, as one that does not exist.
`if_match` is the value of an If-Match header, or None: `PreconditionFailed` where the function has changed.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import Invalid
from isotherm.base.etags import check_etag
from isotherm.base.ids import is_function_name
from isotherm.db.pages import Page, clamp_limit, decode_cursor, encode_cursor
from isotherm.events.listeners import Listeners
from isotherm.events.service import EventLog
from isotherm.functions import languages, layer_store, policy, store, time_limits
from isotherm.functions.development import Leases, check_kind
from isotherm.functions.finding import find_function
from isotherm.functions.model import Alias, Deployed, Function, FunctionConfig, Making, Package, Revision, Trigger
from isotherm.functions.packages import PackageLimits, inspect_package
from isotherm.functions.time_limits import PlatformLimits
from isotherm.functions.views import Views
from isotherm.storage.port import Blobs
from isotherm.tenancy.model import Permission, Principal
from isotherm.tenancy.quotas import Quotas
from isotherm.tenancy.service import Tenancy
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.scopes import ANY_FUNCTION
from isotherm.workloads import store as workload_store
from isotherm.workloads.model import QueueAction, RevisionRow, Weight, WorkloadRow
from isotherm.workloads.policy import leading
from isotherm.workloads.service import Workloads

__all__ = ["Functions"]

_swept_at_once = 500
_plainly = Making()


class Functions:
    """Deploy functions, and see and steer them. The first of `runtimes` is taken where a configuration names none."""

    def __init__(
        self,
        *,
        log: EventLog,
        tenancy: Tenancy,
        quotas: Quotas,
        workloads: Workloads,
        blobs: Blobs,
        clock: Clock,
        limits: PackageLimits,
        runtimes: Sequence[str],
        content_url: str,
        leases: Leases,
        time_limits: PlatformLimits,
    ) -> None:
        self._log = log
        self._database = log.database
        self._tenancy = tenancy
        self._quotas = quotas
        self._workloads = workloads
        self._blobs = blobs
        self._clock = clock
        self._limits = limits
        self._runtimes = tuple(runtimes)
        self._time_limits = time_limits
        self._views = Views(content_url, time_limits)
        self._leases = leases
        self._building: Listeners[[str]] = Listeners("a deploy")

    def upload_package(self, principal: Principal, namespace: str, content: bytes | BinaryIO) -> Package:
        """Check a zip of code and keep it. A stream must be seekable.

        Raises `InvalidPackage` (not a zip; absolute paths, `..`, links, bombs, too many files), `TooLarge` (also where
        the packages of the namespace would be over its quota), `NotFound`, `Forbidden`.
        """
        self._tenancy.require(principal, "functions.deploy", namespace, ANY_FUNCTION)
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        found = inspect_package(stream, self._limits)
        with self._database.read() as session:  # before it is kept; the transaction below looks once more
            self._check_disk(session, namespace, stream, found.size_bytes)
        stream.seek(0)
        digest = self._blobs.put(stream)
        package = Package(
            digest=digest, size_bytes=found.size_bytes, files=found.files, requirements=found.requirements
        )
        with self._log.transaction() as session:
            self._tenancy.existing_namespace(session, namespace)
            self._check_disk(session, namespace, stream, found.size_bytes)
            store.insert_package(session, namespace, package, self._clock.time_ms())
            if not self._blobs.exists(digest):  # a sweep of the same unused package came between
                stream.seek(0)
                self._blobs.put(stream)
        return package

    def deploy(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        config: FunctionConfig,
        *,
        abort_rollout: bool = False,
        if_match: str | None = None,
        making: Making = _plainly,
    ) -> Deployed:
        """Make a revision in the state `building` (and the function, where it is new).

        Where code and configuration are those of the latest revision and it has not failed, that one is the answer
        (and `live` goes to it, where it is ready and `live` was elsewhere). It goes as `config.rollout` says.
        Raises `Invalid` (name, configuration, unknown package), `Conflict` (a rollout is moving `live`, and
        `abort_rollout` does not end it; the function is of development and this is not, or the other way round),
        `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        config = self._checked(name, config)
        with self._log.transaction() as session:
            self._tenancy.existing_namespace(session, namespace)
            if making.check is not None:
                making.check(workload_store.find_workload(session, "function", namespace, name))
            package = store.find_package(session, namespace, config.package)
            if package is None:
                raise Invalid(
                    f"the package {config.package} was not uploaded to the namespace {namespace!r}; upload it first",
                    key="package",
                )
            policy.check_quota(config, namespace, self._quotas.limits(session, namespace))
            before = workload_store.find_workload(session, "function", namespace, name)
            check_kind(before, development=config.development)
            layers = layer_store.digests(session, namespace, config.layers)
            draft = policy.draft_of(
                config, requirements=package.requirements, layers=layers, head=making.head, notes=making.notes
            )
            row, created, etag = self._workloads.deploy(
                session,
                principal.id,
                "function",
                namespace,
                name,
                draft,
                plan=config.rollout,
                abort_rollout=abort_rollout,
                if_match=if_match,
            )
        if created:
            self._building.tell(row.spec.id)
        if config.development:
            self._leases.touch(row.spec.workload_id)
        return Deployed(revision=self._views.revision(row, config.env), created=created, etag=etag)

    def get(self, principal: Principal, namespace: str, name: str) -> Function:
        """A development function is kept while somebody looks at it. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._database.read() as session:
            workload = self._find(session, namespace, name)
            env = None if workload.latest is None else self._env(session, principal, workload.latest)
        found = self._views.function(workload, env)
        if found.development:
            self._leases.touch(found.id)
        return found

    def page(
        self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Function]:
        """The functions of a namespace by name; env values are always masked. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace)
        after = None if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._database.read() as session:
            self._tenancy.existing_namespace(session, namespace)
            rows = workload_store.list_workloads(
                session, "function", namespace, after=after, limit=clamp_limit(limit) + 1
            )
        found = [self._views.function(row) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1].name) if len(rows) > limit else None)

    def delete(self, principal: Principal, namespace: str, name: str, *, if_match: str | None = None) -> None:
        """Delete a function with all its revisions; its name is free at once.

        Raises `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        self._tenancy.require(principal, "functions.delete", namespace, name)
        with self._log.transaction() as session:
            workload = self._matching(session, namespace, name, if_match)
            self._workloads.delete(session, principal.id, workload)

    def revisions(
        self, principal: Principal, namespace: str, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Revision]:
        """The newest first; env values are always masked. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        below = None if cursor is None else decode_cursor(cursor, tuple[int])[0]
        with self._database.read() as session:
            workload = self._find(session, namespace, name)
            rows = workload_store.list_revisions(session, workload.id, below=below, limit=clamp_limit(limit) + 1)
        found = [self._views.revision(row) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1].number) if len(rows) > limit else None)

    def revision(self, principal: Principal, namespace: str, name: str, number: int) -> Revision:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._database.read() as session:
            workload = self._find(session, namespace, name)
            row = self._workloads.revision(session, workload.id, number)
            return self._views.revision(row, self._env(session, principal, row))

    def aliases(
        self, principal: Principal, namespace: str, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Alias]:
        """By name. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        after = "" if cursor is None else decode_cursor(cursor, tuple[str])[0]
        with self._database.read() as session:
            workload = self._find(session, namespace, name)
            rows = workload_store.list_aliases(session, workload.id, after=after, limit=clamp_limit(limit) + 1)
        found = [self._views.alias(row) for row in rows[:limit]]
        return Page(found, encode_cursor(found[-1].name) if len(rows) > limit else None)

    def alias(self, principal: Principal, namespace: str, name: str, alias: str) -> Alias:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._database.read() as session:
            return self._views.alias(self._workloads.alias(session, self._find(session, namespace, name), alias))

    def set_alias(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        alias: str,
        weights: Sequence[Weight],
        *,
        if_match: str | None = None,
    ) -> Alias:
        """Make or move an alias. Raises `Invalid` (name; weights that do not sum to 1; a revision that is twice
        there, does not exist or is not ready), `NotFound`, `Forbidden`, `PreconditionFailed`."""
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            workload = self._matching(session, namespace, name, if_match)
            return self._views.alias(self._workloads.set_alias(session, principal.id, workload, alias, weights))

    def delete_alias(
        self, principal: Principal, namespace: str, name: str, alias: str, *, if_match: str | None = None
    ) -> None:
        """Raises `Invalid` (`live` cannot be deleted), `NotFound`, `Forbidden`, `PreconditionFailed`."""
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            workload = self._matching(session, namespace, name, if_match)
            self._workloads.delete_alias(session, principal.id, workload, alias)

    def rollback(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        *,
        to: int | None = None,
        if_match: str | None = None,
    ) -> Alias:
        """Point `live` at revision `to`, by default the newest ready one below what is live now.

        Raises `Conflict` (there is none), `Invalid` (`to` is not ready), `NotFound`, `Forbidden`.
        """
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            workload = self._matching(session, namespace, name, if_match)
            return self._views.alias(self._workloads.roll_back(session, principal.id, workload, to))

    def require_steering(self, principal: Principal, namespace: str, name: str) -> None:
        """Whether the principal may steer the function's queue. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "calls.manage", namespace, name)
        with self._database.read() as session:
            self._find(session, namespace, name)

    def queue_steered(self, principal: Principal, namespace: str, name: str, action: QueueAction, count: int) -> None:
        """Write down who steered the function's queue. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "calls.manage", namespace, name)
        with self._log.transaction() as session:
            workload = self._find(session, namespace, name)
            self._workloads.queue_steered(session, principal.id, workload, action, count)

    def mark_ready(self, revision_id: str, *, template: bool, unfit: Sequence[str], elapsed_ms: float) -> None:
        """A host has prepared the revision: it is ready, and `live` goes to it, unless a newer one is ready already.

        Marking again changes nothing. Raises `NotFound` (deleted meanwhile), `Conflict` (it has failed).
        """
        with self._log.transaction() as session:
            self._workloads.mark_ready(session, revision_id, template=template, unfit=unfit, elapsed_ms=elapsed_ms)

    def mark_failed(self, revision_id: str, problem: dict[str, Any], *, elapsed_ms: float | None = None) -> None:
        """The revision could not be prepared; `problem` is RFC 9457. `live` stays.

        Marking again changes nothing. Raises `NotFound` (deleted meanwhile), `Conflict` (it is ready).
        """
        with self._log.transaction() as session:
            self._workloads.mark_failed(session, revision_id, problem, elapsed_ms=elapsed_ms)

    def on_building(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback` with the id of each revision that a deploy made, after its commit, on that command's thread;
        it must not block. Returns what takes it off again."""
        return self._building.add(callback)

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Those that this platform has."""
        return self._runtimes

    def open_package(self, digest: str) -> BinaryIO:
        """The zip of a package, for who has checked that it may be seen. Raises `NotFound`."""
        return self._blobs.open(digest)

    def package_bytes(self, namespace: str) -> int:
        """What the packages of a namespace take."""
        with self._database.read() as session:
            return store.package_bytes(session, namespace, but=None)

    def count(self) -> int:
        """Functions on the platform."""
        with self._database.read() as session:
            return workload_store.count_workloads(session, "function")

    def building(self) -> list[RevisionSpec]:
        """What still waits for a host, oldest first, env included: to be prepared (again) after a restart."""
        with self._database.read() as session:
            return [self._workloads.opened(session, sealed) for sealed in workload_store.list_building(session)]

    def spec(self, revision_id: str) -> RevisionSpec:
        """What a host needs to prepare a revision, env included. Raises `NotFound`."""
        with self._database.read() as session:
            return self._workloads.spec(session, revision_id)

    def triggers(self, principal: Principal, namespace: str, name: str) -> list[Trigger]:
        """Its URL and its schedules, with the times that are next. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._database.read() as session:
            workload = self._find(session, namespace, name)
            if not workload.live:
                return []
            row = self._workloads.revision(session, workload.id, leading(workload.live))
        return self._views.triggers(row, self._clock.time_ms())

    def moves_at_once(self, revision_id: str) -> bool:
        """Whether all calls go to the revision in one move once it is ready. Raises `NotFound`."""
        with self._database.read() as session:
            return self._workloads.moves_at_once(session, revision_id)

    def etag(self, principal: Principal, namespace: str, name: str, permission: Permission = "functions.read") -> str:
        """The function's ETag, without quotes. Raises `NotFound`, `Forbidden` (without this permission)."""
        self._tenancy.require(principal, permission, namespace, name)
        with self._database.read() as session:
            return self._find(session, namespace, name).etag

    def sweep_packages(self, *, unused_for_s: float = 86400.0) -> int:
        """Delete packages that no revision is made of and that were uploaded longer ago; how many. Call it hourly."""
        before_ms = self._clock.time_ms() - round(unused_for_s * 1000)
        with self._log.transaction() as session:
            unused = set(store.unused_packages(session, before_ms, _swept_at_once))
            store.delete_packages(session, unused, before_ms)
            gone = unused - store.known_digests(session, unused)
            for digest in gone:  # within the transaction: an upload of the same waits for its turn
                self._blobs.delete(digest)
        return len(gone)

    def _check_disk(self, session: Session, namespace: str, package: BinaryIO, size_bytes: int) -> None:
        """Whether the quota has room for this package beside all others of the namespace."""
        limit_mb = self._quotas.limits(session, namespace).disk_mb
        if limit_mb is not None:
            package.seek(0)
            digest = hashlib.file_digest(package, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed: BinaryIO is one
            kept_bytes = store.package_bytes(session, namespace, but=digest)
            policy.check_package_quota(namespace, kept_bytes, size_bytes, limit_mb)

    def _checked(self, name: str, config: FunctionConfig) -> FunctionConfig:
        """The configuration, runtime and handler settled. Raises `Invalid`."""
        if not is_function_name(name):
            raise Invalid(
                f"{name[:100]!r} cannot name a function: 1 to 64 letters, digits, hyphens and underscores",
                key="name",
            )
        policy.check_config(config)
        settled = languages.settle(config, self._runtimes)
        languages.check(settled)
        time_limits.check(settled, self._time_limits)
        return settled

    def _find(self, session: Session, namespace: str, name: str) -> WorkloadRow:
        return find_function(session, self._tenancy, self._workloads, namespace, name)

    def _matching(self, session: Session, namespace: str, name: str, if_match: str | None) -> WorkloadRow:
        workload = self._find(session, namespace, name)
        check_etag(if_match, workload.etag)
        return workload

    def _env(self, session: Session, principal: Principal, row: RevisionRow) -> dict[str, str] | None:
        """The values, where the principal may read them."""
        if not self._tenancy.allows(principal, "functions.read_env", row.spec.namespace, row.spec.name):
            return None
        return self._workloads.env(session, row.spec.workload_id, row.spec.number)
