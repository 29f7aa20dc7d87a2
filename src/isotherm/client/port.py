"""What the client asks of a driver: HTTP and time. Written as coroutines; a blocking driver's never suspend."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Protocol, TypeVar

from isotherm.client.request import Request

__all__ = ["Opened", "Wire"]

T = TypeVar("T")


class Opened(Protocol):
    """An answer whose head is there."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By names of any case."""

    def parts(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes; what is not asked for is not read. Raises `TimedOut`, `Unavailable`."""

    async def close(self) -> None:
        """Leave; the connection is closed where the body was not read to its end."""


class Wire(Protocol):
    url: str  # of the platform, without a slash at its end
    reached: bool  # whether it ever answered

    async def open(self, request: Request) -> Opened:
        """Raises `Unavailable`, with `begun` false in its data where the request never left; `TimedOut`."""

    async def sleep(self, seconds: float) -> None: ...

    async def work(self, function: Callable[[], T]) -> T:
        """What `function` returns; it may block."""

    async def close(self) -> None: ...
