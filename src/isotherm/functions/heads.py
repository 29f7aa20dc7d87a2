"""Functions as mutable things with published versions, as AWS Lambda has them: see docs/adr/0023-lambda-api.md.

The newest revision is the head. Each change makes another one; publishing gives the head a version number. All verbs
check their permission and are thread-safe.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import NotFound
from isotherm.events.service import EventLog
from isotherm.functions import store
from isotherm.functions.finding import find_function
from isotherm.functions.model import FunctionConfig
from isotherm.functions.policy import config_of
from isotherm.tenancy.model import Permission, Principal
from isotherm.tenancy.service import Tenancy
from isotherm.workloads import store as workload_store
from isotherm.workloads.model import LIVE, AliasRow, RevisionRow, WorkloadRow
from isotherm.workloads.policy import leading
from isotherm.workloads.service import Workloads
from isotherm.workloads.settings_model import NoteSetting, Setting, SettingRow

__all__ = ["HEAD", "Heads", "Seen"]

HEAD = "$LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A function under one qualifier. `version` is None for the head, `alias` None where none was asked for.

    `env` None: the principal may not read the values. `settings` are those of the whole function.
    """

    workload: WorkloadRow
    revision: RevisionRow
    version: int | None
    alias: AliasRow | None
    versions: dict[int, int]
    env: dict[str, str] | None
    package_bytes: int
    layer_bytes: dict[str, int]
    settings: list[SettingRow]
    live: RevisionRow | None = None  # what serves while the head is being built, or has failed

    @property
    def config(self) -> FunctionConfig:
        """Env values are masked where the principal may not read them."""
        return config_of(self.revision, self.env)

    def setting(self, kind: type[Setting], qualifier: str = "") -> Setting | None:
        return next(
            (r.setting for r in self.settings if r.qualifier == qualifier and isinstance(r.setting, kind)), None
        )

    @property
    def description(self) -> str:
        """A version's own, where it was published with one."""
        own = None if self.version is None else self.setting(NoteSetting, str(self.version))
        if isinstance(own, NoteSetting):
            return own.description
        return str(self.revision.notes.get("Description", ""))


class Heads:
    """Look at functions by qualifier, publish, and set what is set beside revisions."""

    def __init__(self, *, log: EventLog, tenancy: Tenancy, workloads: Workloads, clock: Clock) -> None:
        self._log = log
        self._tenancy = tenancy
        self._workloads = workloads
        self._clock = clock

    def see(self, principal: Principal, namespace: str, name: str, qualifier: str | None = None) -> Seen:
        """Raises `NotFound` (also: no such alias or version), `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._log.database.read() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
            return self._seen(session, principal, workload, qualifier)

    def page(self, principal: Principal, namespace: str, *, after: str | None, limit: int) -> list[Seen]:
        """The heads of the functions of a namespace, by name. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace)
        with self._log.database.read() as session:
            self._tenancy.existing_namespace(session, namespace)
            rows = workload_store.list_workloads(session, "function", namespace, after=after, limit=limit)
            return [self._seen(session, principal, row, None) for row in rows if row.latest is not None]

    def versions(self, principal: Principal, namespace: str, name: str, *, after: int, limit: int) -> list[Seen]:
        """Published ones by number, those after `after`. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace, name)
        with self._log.database.read() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
            numbers = self._workloads.versions(session, workload.id)
            chosen = sorted(version for version in numbers if version > after)[:limit]
            return [self._seen(session, principal, workload, str(version)) for version in chosen]

    def aliases(
        self, principal: Principal, namespace: str, name: str, *, after: str, limit: int
    ) -> tuple[Seen, list[AliasRow]]:
        """All but `live`, by name; and the function. Raises `NotFound`, `Forbidden`."""
        seen = self.see(principal, namespace, name)
        with self._log.database.read() as session:
            rows = workload_store.list_aliases(session, seen.workload.id, after=after, limit=limit + 1)
        return seen, [row for row in rows if row.name != LIVE][:limit]

    def publish(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        *,
        description: str | None = None,
        check: Callable[[Seen], None] | None = None,
    ) -> Seen:
        """Give the head a version number; the version that it is already, where it is one.

        Raises `NotFound`, `Forbidden`, `Conflict` (it has failed), and as `check` does.
        """
        self._tenancy.require(principal, "functions.deploy", namespace, name)
        with self._log.transaction() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
            if check is not None:
                check(self._seen(session, principal, workload, None))
            version, new = self._workloads.publish(session, principal.id, workload)
            if new and description is not None:
                note = NoteSetting(description=description, updated_at_ms=self._clock.time_ms())
                fresh = find_function(session, self._tenancy, self._workloads, namespace, name)
                self._workloads.put_setting(session, principal.id, fresh, str(version), note)
            return self._seen(session, principal, workload, str(version))

    def delete_version(self, principal: Principal, namespace: str, name: str, version: int) -> None:
        """Raises `NotFound`, `Forbidden`, `Conflict` (an alias has it)."""
        self._tenancy.require(principal, "functions.delete", namespace, name)
        with self._log.transaction() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
            self._workloads.delete_version(session, principal.id, workload, version)

    def change_setting(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        qualifier: str | None,
        kind: type[Setting],
        change: Callable[[Seen, Setting | None], Setting | None],
        *,
        permission: Permission = "functions.deploy",
    ) -> Seen:
        """Put what `change` makes of a setting in its place; None: there is none from then on. It may raise.

        Raises `NotFound` (the function, the qualifier), `Forbidden`.
        """
        self._tenancy.require(principal, permission, namespace, name)
        with self._log.transaction() as session:
            workload = find_function(session, self._tenancy, self._workloads, namespace, name)
            seen = self._seen(session, principal, workload, qualifier)
            place = "" if qualifier in (None, HEAD) else str(qualifier)
            before = seen.setting(kind, place)
            after = change(seen, before)
            if after is not None:
                self._workloads.put_setting(session, principal.id, workload, place, after)
            elif before is not None:
                self._workloads.remove_setting(session, principal.id, workload, place, kind)
            return self._seen(session, principal, workload, qualifier)

    def to_change(self, principal: Principal, seen: Seen) -> FunctionConfig:
        """The configuration with the variables in clear, to make another revision with them: never to be shown.

        Who deploys keeps what is there, also where the key's scopes do not let it read values. Raises `Forbidden`.
        """
        spec = seen.revision.spec
        self._tenancy.require(principal, "functions.deploy", spec.namespace, spec.name)
        with self._log.database.read() as session:
            env = self._workloads.env(session, seen.workload.id, spec.number)
        return config_of(seen.revision, env)

    def _seen(
        self,
        session: Session,
        principal: Principal,
        workload: WorkloadRow,
        qualifier: str | None,
    ) -> Seen:
        if workload.latest is None:
            raise NotFound(f"{workload.name!r} has no revision yet", name=workload.name)
        versions = self._workloads.versions(session, workload.id)
        version: int | None = None
        alias: AliasRow | None = None
        revision = workload.latest
        if qualifier is not None and qualifier.isdigit():
            version = int(qualifier)
            if version not in versions:
                raise NotFound(f"{workload.name!r} has no version {version}", version=version)
            revision = self._workloads.revision(session, workload.id, versions[version])
        elif qualifier not in (None, "", HEAD):
            alias = self._workloads.alias(session, workload, str(qualifier))
            number = leading(alias.weights)
            version = next((each for each, of in versions.items() if of == number), None)
            revision = self._workloads.revision(session, workload.id, number)
        spec = revision.spec
        package = store.find_package(session, workload.namespace, spec.package)
        env = None
        if self._tenancy.allows(principal, "functions.read_env", workload.namespace):
            env = self._workloads.env(session, workload.id, spec.number)
        live = None
        if workload.live and leading(workload.live) != workload.latest.spec.number:
            live = self._workloads.revision(session, workload.id, leading(workload.live))
        return Seen(
            workload=workload,
            revision=revision,
            version=version,
            alias=alias,
            versions=versions,
            env=env,
            package_bytes=0 if package is None else package.size_bytes,
            layer_bytes={name: store.package_size(session, workload.namespace, digest) for name, digest in spec.layers},
            settings=self._workloads.settings(session, workload.id),
            live=live,
        )
