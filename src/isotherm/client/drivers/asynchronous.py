"""HTTP on asyncio's loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TypeVar

import httpx

from isotherm.client.drivers.exchange import Verify, arguments, client_options, translated, transport_options
from isotherm.client.profiles import Profile
from isotherm.client.request import Request

__all__ = ["AsyncWire"]

T = TypeVar("T")


class AsyncWire:
    """See `port.Wire`. Belongs to one loop."""

    def __init__(self, profile: Profile, verify: Verify, transport: httpx.AsyncBaseTransport | None) -> None:
        self.url = profile.url
        self.reached = False
        options = client_options(profile, verify)
        own = transport_options(options, verify)
        if transport is None and own is not None:
            transport = httpx.AsyncHTTPTransport(**own)
        self._http = httpx.AsyncClient(**options, verify=verify, transport=transport)

    async def open(self, request: Request) -> "_Opened":
        with translated(self.url, request):
            response = await self._http.send(self._http.build_request(**arguments(request)), stream=True)
        self.reached = True
        return _Opened(self.url, request, response)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    async def close(self) -> None:
        await self._http.aclose()


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
            async for part in self._response.aiter_bytes():
                yield part

    async def close(self) -> None:
        await self._response.aclose()
