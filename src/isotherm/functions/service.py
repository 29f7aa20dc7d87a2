"""The verbs of functions. Every one checks its permission; all are thread-safe.

A function in a namespace where the principal has no role answers `NotFound`, as one that does not exist.
`if_match` is the value of an If-Match header, or None: `PreconditionFailed` where the function has changed.
"""

from collections.abc import Sequence
from typing import Any, BinaryIO

from isotherm.db.pages import Page
from isotherm.functions.model import Alias, Deployed, Function, FunctionConfig, Package, Revision
from isotherm.tenancy.model import Principal
from isotherm.wire.desired import RevisionSpec
from isotherm.workloads.model import Weight

__all__ = ["Functions"]


class Functions:
    """Deploy functions, and see and steer them."""

    def upload_package(self, principal: Principal, namespace: str, content: bytes | BinaryIO) -> Package:
        """Check a zip of code and keep it. A stream must be seekable.

        Raises `InvalidPackage` (not a zip; absolute paths, `..`, links, bombs, too many files), `TooLarge`,
        `NotFound`, `Forbidden`.
        """
        raise NotImplementedError

    def deploy(
        self, principal: Principal, namespace: str, name: str, config: FunctionConfig, *, if_match: str | None = None
    ) -> Deployed:
        """Make a revision in the state `building` (and the function, where it is new).

        Where code and configuration are those of the latest revision and it has not failed, that one is the answer
        (and `live` goes to it, where it is ready and `live` was elsewhere).
        Raises `Invalid` (name, configuration, unknown package), `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        raise NotImplementedError

    def get(self, principal: Principal, namespace: str, name: str) -> Function:
        """Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def page(
        self, principal: Principal, namespace: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Function]:
        """The functions of a namespace by name; env values are always masked. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def delete(self, principal: Principal, namespace: str, name: str, *, if_match: str | None = None) -> None:
        """Delete a function with all its revisions; its name is free at once.

        Raises `NotFound`, `Forbidden`, `PreconditionFailed`.
        """
        raise NotImplementedError

    def revisions(
        self, principal: Principal, namespace: str, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Revision]:
        """The newest first; env values are always masked. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def revision(self, principal: Principal, namespace: str, name: str, number: int) -> Revision:
        """Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def aliases(
        self, principal: Principal, namespace: str, name: str, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Alias]:
        """By name. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

    def alias(self, principal: Principal, namespace: str, name: str, alias: str) -> Alias:
        """Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError

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
        raise NotImplementedError

    def delete_alias(
        self, principal: Principal, namespace: str, name: str, alias: str, *, if_match: str | None = None
    ) -> None:
        """Raises `Invalid` (`live` cannot be deleted), `NotFound`, `Forbidden`, `PreconditionFailed`."""
        raise NotImplementedError

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
        raise NotImplementedError

    def mark_ready(self, revision_id: str, *, template: bool, unfit: Sequence[str], elapsed_ms: float) -> None:
        """A host has prepared the revision: it is ready, and `live` goes to it, unless a newer one is ready already.

        Marking again changes nothing. Raises `NotFound` (deleted meanwhile), `Conflict` (it has failed).
        """
        raise NotImplementedError

    def mark_failed(self, revision_id: str, problem: dict[str, Any], *, elapsed_ms: float | None = None) -> None:
        """The revision could not be prepared; `problem` is RFC 9457. `live` stays.

        Marking again changes nothing. Raises `NotFound` (deleted meanwhile), `Conflict` (it is ready).
        """
        raise NotImplementedError

    def building(self) -> list[RevisionSpec]:
        """What still waits for a host, oldest first, env included: to be prepared (again) after a restart."""
        raise NotImplementedError

    def spec(self, revision_id: str) -> RevisionSpec:
        """What a host needs to prepare a revision, env included. Raises `NotFound`."""
        raise NotImplementedError

    def etag(self, principal: Principal, namespace: str, name: str) -> str:
        """The function's ETag, without quotes. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError
