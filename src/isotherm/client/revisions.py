"""Packages, revisions, and the aliases that point to them."""

from collections.abc import Mapping

from isotherm.client.deploying import BUILD_S, upload
from isotherm.client.model import Alias, Package, Progress, Pruned, Revision
from isotherm.client.request import function_path, given, segment
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = ["Aliases", "AsyncAliases", "AsyncPackages", "AsyncRevisions", "Packages", "Revisions"]


class AsyncPackages(AsyncNoun):
    """Code as it is uploaded. `functions.deploy` does it by itself."""

    async def upload(self, content: bytes) -> Package:
        """A zip; the same again is the same package. Raises `InvalidPackage`, `TooLarge`."""
        return await upload(self._session, content)


class Packages(Noun[AsyncPackages]):
    """Code as it is uploaded. `functions.deploy` does it by itself."""

    upload = blocking(AsyncPackages.upload)


class AsyncRevisions(AsyncNoun):
    """The revisions of a function: code and configuration, numbered."""

    def list(self, function: str, limit: int | None = None) -> AsyncStream[Revision]:
        """The newest first."""
        return AsyncStream(self._session.pages(self._path(function), Revision, limit))

    async def get(self, function: str, number: int) -> Revision:
        """Its state, its configuration and, where it failed, why. Raises `NotFound`."""
        return await self._session.get(f"{self._path(function)}/{number:d}", Revision)

    def progress(self, function: str, number: int, *, timeout_s: float | None = BUILD_S) -> AsyncStream[Progress]:
        """The steps of its deploy as they happen; the last has `done`. `timeout_s` bounds the wait for each."""
        return AsyncStream(self._session.lines(f"{self._path(function)}/{number:d}/progress", Progress, timeout_s))

    async def prune(self, function: str, keep: int | None = None, *, dry_run: bool = False) -> Pruned:
        """Forget old ones: all but the newest `keep`, by default what the platform's policy leaves over.

        What an alias points to stays. `dry_run`: only say which would go.
        """
        path = self._session.path(f"{function_path(function)}/prune")
        return await self._session.post(path, Pruned, {"dry_run": dry_run} | given(keep=keep))

    def _path(self, function: str) -> str:
        return self._session.path(f"{function_path(function)}/revisions")


class Revisions(Noun[AsyncRevisions]):
    """The revisions of a function: code and configuration, numbered."""

    list = streaming(AsyncRevisions.list)
    get = blocking(AsyncRevisions.get)
    progress = streaming(AsyncRevisions.progress)
    prune = blocking(AsyncRevisions.prune)


class AsyncAliases(AsyncNoun):
    """Names for revisions of a function. `live` takes the calls that name none."""

    def list(self, function: str, limit: int | None = None) -> AsyncStream[Alias]:
        """By name."""
        return AsyncStream(self._session.pages(self._path(function), Alias, limit))

    async def get(self, function: str, alias: str) -> Alias:
        """The revisions that it names. Raises `NotFound`."""
        return await self._session.get(f"{self._path(function)}/{segment(alias)}", Alias)

    async def set(self, function: str, alias: str, to: int | Mapping[int, float], *, etag: str | None = None) -> Alias:
        """Make or move it: to a ready revision, or to several by weights that sum to 1, as `{3: 0.9, 4: 0.1}`.

        With `etag` (that of the function) only where nothing changed meanwhile; otherwise `PreconditionFailed`.
        """
        weights = {to: 1.0} if isinstance(to, int) else to
        body = {"weights": [{"number": number, "weight": weight} for number, weight in weights.items()]}
        return await self._session.put(f"{self._path(function)}/{segment(alias)}", Alias, body, etag=etag)

    async def delete(self, function: str, alias: str) -> None:
        """Any but `live`."""
        await self._session.delete(f"{self._path(function)}/{segment(alias)}")

    def _path(self, function: str) -> str:
        return self._session.path(f"{function_path(function)}/aliases")


class Aliases(Noun[AsyncAliases]):
    """Names for revisions of a function. `live` takes the calls that name none."""

    list = streaming(AsyncAliases.list)
    get = blocking(AsyncAliases.get)
    set = blocking(AsyncAliases.set)
    delete = blocking(AsyncAliases.delete)
