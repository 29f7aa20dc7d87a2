"""The verbs of layers. Every one checks its permission; all are thread-safe."""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy.orm import Session

from isotherm.base.clock import Clock
from isotherm.base.errors import NotFound
from isotherm.events.service import EventLog
from isotherm.functions import layer_store
from isotherm.functions.layer_model import LayerStatement, LayerVersion
from isotherm.functions.model import Package
from isotherm.tenancy.model import Principal
from isotherm.tenancy.service import Tenancy

__all__ = ["Layers"]

Changed = Callable[[Sequence[LayerStatement]], list[LayerStatement]]


class Layers:
    """Zips that functions share."""

    def __init__(self, *, log: EventLog, tenancy: Tenancy, clock: Clock) -> None:
        self._log = log
        self._tenancy = tenancy
        self._clock = clock

    def publish(
        self,
        principal: Principal,
        namespace: str,
        name: str,
        package: Package,
        *,
        description: str = "",
        license: str = "",  # noqa: A002 (its name in the noun)
        runtimes: Sequence[str] = (),
        architectures: Sequence[str] = (),
    ) -> LayerVersion:
        """The next version, of an uploaded zip. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.deploy", namespace)
        with self._log.transaction() as session:
            self._tenancy.existing_namespace(session, namespace)
            made = LayerVersion(
                namespace=namespace,
                name=name,
                version=layer_store.last_version(session, namespace, name) + 1,
                package=package.digest,
                size_bytes=package.size_bytes,
                created_at_ms=self._clock.time_ms(),
                description=description,
                license=license,
                runtimes=list(runtimes),
                architectures=list(architectures),
            )
            layer_store.insert_version(session, made)
        return made

    def version(self, principal: Principal, namespace: str, name: str, version: int) -> LayerVersion:
        """Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace)
        with self._log.database.read() as session:
            return self._find(session, namespace, name, version)

    def versions(
        self, principal: Principal, namespace: str, name: str, *, below: int | None, limit: int
    ) -> list[LayerVersion]:
        """The newest first; none, where there is no such layer. Raises `NotFound` (the namespace), `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace)
        with self._log.database.read() as session:
            return layer_store.list_versions(session, namespace, name, below=below, limit=limit)

    def all(self, principal: Principal, namespace: str, *, after: str, limit: int) -> list[LayerVersion]:
        """The newest version of each layer, by name. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.read", namespace)
        with self._log.database.read() as session:
            return layer_store.list_layers(session, namespace, after=after, limit=limit)

    def delete(self, principal: Principal, namespace: str, name: str, version: int) -> None:
        """Functions that have it keep it. One that is not there is gone already. Raises `NotFound`, `Forbidden`."""
        self._tenancy.require(principal, "functions.delete", namespace)
        with self._log.transaction() as session:
            layer_store.delete_version(session, namespace, name, version)

    def permit(
        self, principal: Principal, namespace: str, name: str, version: int, change: Changed
    ) -> list[LayerStatement]:
        """Put what `change` makes of its statements in their place. Raises `NotFound`, `Forbidden`, and as `change`."""
        self._tenancy.require(principal, "functions.deploy", namespace)
        with self._log.transaction() as session:
            found = self._find(session, namespace, name, version)
            statements = change(found.statements)
            layer_store.replace_version(session, msgspec.structs.replace(found, statements=statements))
        return statements

    def _find(self, session: Session, namespace: str, name: str, version: int) -> LayerVersion:
        found = layer_store.find_version(session, namespace, name, version)
        if found is None:
            raise NotFound(f"there is no layer {name}:{version} in the namespace {namespace!r}", name=name)
        return found
