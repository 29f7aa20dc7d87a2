"""The clients: one platform, one key, one namespace; blocking or for asyncio."""

from dataclasses import replace
from types import TracebackType
from typing import Any

import httpx

from isotherm.client.access import (
    AsyncKeys,
    AsyncNamespaces,
    AsyncQuotas,
    AsyncSecrets,
    Keys,
    Namespaces,
    Quotas,
    Secrets,
)
from isotherm.client.calls import AsyncCalls, AsyncQueues, Calls, Queues
from isotherm.client.drivers.asynchronous import AsyncWire
from isotherm.client.drivers.blocking import BlockingWire
from isotherm.client.drivers.exchange import Verify
from isotherm.client.functions import AsyncFunctions, Functions
from isotherm.client.observing import (
    AsyncEvents,
    AsyncInvocations,
    AsyncPlatform,
    AsyncWarming,
    Events,
    Invocations,
    Platform,
    Warming,
)
from isotherm.client.profiles import Login, find_profile
from isotherm.client.revisions import Aliases, AsyncAliases, AsyncPackages, AsyncRevisions, Packages, Revisions
from isotherm.client.rollouts import AsyncRollouts, Rollouts
from isotherm.client.session import RETRY_S, Session
from isotherm.client.users import AsyncAuth, AsyncMembers, AsyncUsers, Auth, Members, Users
from isotherm.client.verbs import run

__all__ = ["AsyncClient", "Client"]


class AsyncClient:
    """A platform over HTTP, for asyncio. Use it with `async with`, or call `aclose`. It belongs to one event loop.

    `url`, `key` and `namespace`: what is not said is that of `ISOTHERM_URL`, `ISOTHERM_KEY` and `ISOTHERM_NAMESPACE`,
    else of the profile that `isotherm login` or `isotherm up` saved. A key is sent to the platform it belongs to alone.
    The login of a user in the profile is refreshed by itself, and so is a `login` that `client.logins.log_in` came to:
    then in memory alone.

    `timeout_s` bounds each request in place of its own limit (30 s; longer for calls, uploads and deploys). `retry_s`
    is for how long a request is sent again that may be, once the platform was reached; 0: never. `verify` False: do not
    check the certificate; or a context that does. `transport` is httpx's, for tests and special networks.

    Raises `Unauthenticated` where there is no key and no login, `Invalid` where the URL is none.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        namespace: str | None = None,
        *,
        login: Login | None = None,
        timeout_s: float | None = None,
        retry_s: float = RETRY_S,
        verify: Verify = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        profile = find_profile(namespace, url=url, key=key, login=login)
        self._bind(Session(AsyncWire(profile, verify, transport), profile.namespace, timeout_s, retry_s))

    def _bind(self, session: Session) -> None:
        self._session = session
        self.functions = AsyncFunctions(session)
        self.packages = AsyncPackages(session)
        self.revisions = AsyncRevisions(session)
        self.aliases = AsyncAliases(session)
        self.rollouts = AsyncRollouts(session)
        self.calls = AsyncCalls(session)
        self.queues = AsyncQueues(session)
        self.invocations = AsyncInvocations(session)
        self.warming = AsyncWarming(session)
        self.namespaces = AsyncNamespaces(session)
        self.keys = AsyncKeys(session)
        self.users = AsyncUsers(session)
        self.members = AsyncMembers(session)
        self.auth = AsyncAuth(session)
        self.secrets = AsyncSecrets(session)
        self.quotas = AsyncQuotas(session)
        self.events = AsyncEvents(session)
        self.platform = AsyncPlatform(session)

    @property
    def url(self) -> str:
        return self._session.wire.url

    @property
    def namespace(self) -> str:
        return self._session.namespace

    def with_options(
        self, *, namespace: str | None = None, timeout_s: float | None = None, retry_s: float | None = None
    ) -> "AsyncClient":
        """The same client with other options, over the same connections: closing either closes both."""
        other = object.__new__(type(self))
        other._bind(_changed(self._session, namespace=namespace, timeout_s=timeout_s, retry_s=retry_s))
        return other

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r}, namespace={self.namespace!r})"

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all connections."""
        await self._session.wire.close()


class Client:
    """A platform over HTTP. Use it with `with`, or call `close`. Threads may share it.

    `url`, `key` and `namespace`: what is not said is that of `ISOTHERM_URL`, `ISOTHERM_KEY` and `ISOTHERM_NAMESPACE`,
    else of the profile that `isotherm login` or `isotherm up` saved. A key is sent to the platform it belongs to alone.
    The login of a user in the profile is refreshed by itself, and so is a `login` that `client.logins.log_in` came to:
    then in memory alone.

    `timeout_s` bounds each request in place of its own limit (30 s; longer for calls, uploads and deploys). `retry_s`
    is for how long a request is sent again that may be, once the platform was reached; 0: never. `verify` False: do not
    check the certificate; or a context that does. `transport` is httpx's, for tests and special networks.

    Raises `Unauthenticated` where there is no key and no login, `Invalid` where the URL is none.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        namespace: str | None = None,
        *,
        login: Login | None = None,
        timeout_s: float | None = None,
        retry_s: float = RETRY_S,
        verify: Verify = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        profile = find_profile(namespace, url=url, key=key, login=login)
        self._bind(Session(BlockingWire(profile, verify, transport), profile.namespace, timeout_s, retry_s))

    def _bind(self, session: Session) -> None:
        self._session = session
        self.functions = Functions(AsyncFunctions(session))
        self.packages = Packages(AsyncPackages(session))
        self.revisions = Revisions(AsyncRevisions(session))
        self.aliases = Aliases(AsyncAliases(session))
        self.rollouts = Rollouts(AsyncRollouts(session))
        self.calls = Calls(AsyncCalls(session))
        self.queues = Queues(AsyncQueues(session))
        self.invocations = Invocations(AsyncInvocations(session))
        self.warming = Warming(AsyncWarming(session))
        self.namespaces = Namespaces(AsyncNamespaces(session))
        self.keys = Keys(AsyncKeys(session))
        self.users = Users(AsyncUsers(session))
        self.members = Members(AsyncMembers(session))
        self.auth = Auth(AsyncAuth(session))
        self.secrets = Secrets(AsyncSecrets(session))
        self.quotas = Quotas(AsyncQuotas(session))
        self.events = Events(AsyncEvents(session))
        self.platform = Platform(AsyncPlatform(session))

    @property
    def url(self) -> str:
        return self._session.wire.url

    @property
    def namespace(self) -> str:
        return self._session.namespace

    def with_options(
        self, *, namespace: str | None = None, timeout_s: float | None = None, retry_s: float | None = None
    ) -> "Client":
        """The same client with other options, over the same connections: closing either closes both."""
        other = object.__new__(type(self))
        other._bind(_changed(self._session, namespace=namespace, timeout_s=timeout_s, retry_s=retry_s))
        return other

    def __repr__(self) -> str:
        return f"Client({self.url!r}, namespace={self.namespace!r})"

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        run(self._session.wire.close())


def _changed(session: Session, **options: Any) -> Session:
    return replace(session, **{name: value for name, value in options.items() if value is not None})
