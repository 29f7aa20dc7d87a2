"""HTTP on the caller's thread. Its coroutines never suspend, so that `verbs.run` can drive them without a loop."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TypeVar

import httpx

from isotherm.client.drivers.exchange import Verify, arguments, client_options, translated, transport_options
from isotherm.client.profiles import Profile
from isotherm.client.request import Request

__all__ = ["BlockingWire"]

T = TypeVar("T")


class BlockingWire:
    """See `port.Wire`. May be used by several threads."""

    def __init__(self, profile: Profile, verify: Verify, transport: httpx.BaseTransport | None) -> None:
        self.url = profile.url
        self.reached = False
        options = client_options(profile, verify)
        own = transport_options(options, verify)
        if transport is None and own is not None:
            transport = httpx.HTTPTransport(**own)
        self._http = httpx.Client(**options, verify=verify, transport=transport)

    async def open(self, request: Request) -> "_Opened":
        with translated(self.url, request):
            response = self._http.send(self._http.build_request(**arguments(request)), stream=True)
        self.reached = True
        return _Opened(self.url, request, response)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (it is to block)

    async def work(self, function: Callable[[], T]) -> T:
        return function()

    async def close(self) -> None:
        self._http.close()


class _Opened:
    def __init__(self, url: str, request: Request, response: httpx.Response) -> None:
        self._url = url
        self._request = request
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def parts(self) -> AsyncGenerator[bytes, None]:
        with translated(self._url, self._request):
            for part in self._response.iter_bytes():
                yield part

    async def close(self) -> None:
        self._response.close()
