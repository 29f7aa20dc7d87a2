"""What happened, and the platform itself: records of calls, the audit log, hosts, status."""

from collections.abc import Sequence

from isotherm.client.model import Me, Page
from isotherm.client.records import Entry, Explanation, Head, Host, Invocation, Status, Verdict
from isotherm.client.request import given, segment
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming

__all__ = ["AsyncEvents", "AsyncInvocations", "AsyncPlatform", "Events", "Invocations", "Platform"]

VERIFY_S = 600.0  # some ten seconds for a million events


class AsyncInvocations(AsyncNoun):
    """Records of calls: cold, failed and slow ones, and a sample of the others."""

    def list(
        self, function: str | None = None, *, outcome: str | None = None, limit: int | None = None
    ) -> AsyncStream[Invocation]:
        """The newest first. `outcome`: ok, handler_error, timeout, out_of_memory, crash, rejected, …"""
        asked = given(function=function, outcome=outcome)
        return AsyncStream(self._session.pages(self._session.path("invocations"), Invocation, limit, **asked))

    async def get(self, invocation_id: str) -> Invocation:
        """By its request id. Raises `NotFound`."""
        return await self._session.get(self._session.path(f"invocations/{segment(invocation_id)}"), Invocation)

    async def explain(self, invocation_id: str) -> Explanation:
        """Where its time went, why it was cold, what would have avoided it, what it cost."""
        path = self._session.path(f"invocations/{segment(invocation_id)}/explanation")
        return await self._session.get(path, Explanation)


class Invocations(Noun[AsyncInvocations]):
    """Records of calls: cold, failed and slow ones, and a sample of the others."""

    list = streaming(AsyncInvocations.list)
    get = blocking(AsyncInvocations.get)
    explain = blocking(AsyncInvocations.explain)


class AsyncEvents(AsyncNoun):
    """The audit log: who decided what."""

    def list(self, namespace: str | None = None, *, limit: int | None = None) -> AsyncStream[Entry]:
        """The newest first: of one namespace, or, for those who may read all, of all."""
        return AsyncStream(self._session.pages("/api/v1/events", Entry, limit, **given(namespace=namespace)))

    async def head(self) -> Head:
        """The newest hash. Kept elsewhere, it vouches for all events up to here."""
        return await self._session.get("/api/v1/events/head", Head)

    async def verify(self, expect: str | None = None, *, timeout_s: float | None = None) -> Verdict:
        """Whether each event follows from the one before: some ten seconds for a million events. `expect`: a hash that
        was the head once; only it tells what was cut off at the end."""
        asked = None if expect is None else expect.strip().lower()
        limit_s = self._session.limit_s(timeout_s, VERIFY_S)
        return await self._session.get("/api/v1/events/verification", Verdict, expect=asked, timeout_s=limit_s)


class Events(Noun[AsyncEvents]):
    """The audit log: who decided what."""

    list = streaming(AsyncEvents.list)
    head = blocking(AsyncEvents.head)
    verify = blocking(AsyncEvents.verify)


class AsyncPlatform(AsyncNoun):
    """The platform itself."""

    async def me(self) -> Me:
        """Whose key this is, and what it may do."""
        return await self._session.get("/api/v1/me", Me)

    async def status(self) -> Status:
        """Version; to who may look at hosts, also those that are connected and how much there is."""
        return await self._session.get("/api/v1/status", Status)

    async def hosts(self) -> Sequence[Host]:
        """Each host: what its probes say works there, its runtimes, what it holds now."""
        return (await self._session.get("/api/v1/hosts", Page[Host])).items


class Platform(Noun[AsyncPlatform]):
    """The platform itself."""

    me = blocking(AsyncPlatform.me)
    status = blocking(AsyncPlatform.status)
    hosts = blocking(AsyncPlatform.hosts)
