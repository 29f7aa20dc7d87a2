"""What happened, and the platform itself: records of calls, the audit log, hosts, status."""

from collections.abc import Sequence

from isotherm.client.model import Me, Page
from isotherm.client.records import Entry, Explanation, Head, Host, Invocation, Minute, Status, Verdict
from isotherm.client.request import Request, given, segment
from isotherm.client.session import READ_S
from isotherm.client.verbs import AsyncNoun, AsyncStream, Noun, blocking, streaming
from isotherm.client.warmth import Receipt, Warmth, WarmthSummary

__all__ = [
    "AsyncEvents", "AsyncInvocations", "AsyncPlatform", "AsyncWarming", "Events", "Invocations", "Platform", "Warming",
]  # fmt: skip

MINUTES = 1000  # of a page: they are small and many
VERIFY_S = 600.0  # some ten seconds for a million events


class AsyncInvocations(AsyncNoun):
    """Records of calls: cold, failed and slow ones, and a sample of the others."""

    def list(
        self, function: str | None = None, *, outcome: str | None = None, limit: int | None = None
    ) -> AsyncStream[Invocation]:
        """The newest first. `outcome`: ok, handler_error, timeout, out_of_memory, crash, rejected, …"""
        asked = given(function=function, outcome=outcome)
        return AsyncStream(self._session.pages(self._session.path("invocations"), Invocation, limit, **asked))

    def minutes(
        self,
        function: str | None = None,
        *,
        since_minute: int | None = None,
        until_minute: int | None = None,
        limit: int | None = None,
    ) -> AsyncStream[Minute]:
        """How many calls came: one for each revision and minute in which it was called, the oldest first. All calls are
        counted, kept in full or not. `since_minute` (included) and `until_minute` (not): minutes since 1970."""
        asked = given(function=function, since_minute=since_minute, until_minute=until_minute)
        return AsyncStream(self._session.pages(self._session.path("minutes"), Minute, limit, at_once=MINUTES, **asked))

    async def get(self, invocation_id: str) -> Invocation:
        """By its request id. Raises `NotFound`."""
        return await self._session.get(self._session.path(f"invocations/{segment(invocation_id)}"), Invocation)

    async def event(self, invocation_id: str) -> bytes:
        """What it was made with, as JSON. Raises `NotFound` where the function does not have events kept."""
        path = self._session.path(f"invocations/{segment(invocation_id)}/event")
        request = Request(method="GET", path=path, timeout_s=self._session.limit_s(None, READ_S), repeatable=True)
        return (await self._session.send(request)).content

    async def explain(self, invocation_id: str) -> Explanation:
        """Where its time went, why it was cold, what would have avoided it, what it cost."""
        path = self._session.path(f"invocations/{segment(invocation_id)}/explanation")
        return await self._session.get(path, Explanation)


class Invocations(Noun[AsyncInvocations]):
    """Records of calls: cold, failed and slow ones, and a sample of the others."""

    list = streaming(AsyncInvocations.list)
    minutes = streaming(AsyncInvocations.minutes)
    get = blocking(AsyncInvocations.get)
    event = blocking(AsyncInvocations.event)
    explain = blocking(AsyncInvocations.explain)


class AsyncWarming(AsyncNoun):
    """What waits warm, and why."""

    def decisions(self, function: str, *, limit: int | None = None) -> AsyncStream[Receipt]:
        """A receipt of each decision about a function, the newest first."""
        path = self._session.path(f"functions/{segment(function)}/decisions")
        return AsyncStream(self._session.pages(path, Receipt, limit))

    async def get(self, function: str) -> Warmth:
        """What the policy thinks of a function now. Raises `NotFound`."""
        return await self._session.get(self._session.path(f"functions/{segment(function)}/warmth"), Warmth)

    async def platform(self) -> WarmthSummary:
        """All workloads together: what waits where, what it costs, what it avoided."""
        return await self._session.get("/api/v1/warmth", WarmthSummary)


class Warming(Noun[AsyncWarming]):
    """What waits warm, and why."""

    decisions = streaming(AsyncWarming.decisions)
    get = blocking(AsyncWarming.get)
    platform = blocking(AsyncWarming.platform)


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
