"""The template of one revision: built once for all who wait, left alone for a while after a failure."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.pool.masking import mask_of
from isotherm.sandbox.model import SandboxSpec
from isotherm.sandbox.port import Driver, OnEgress, Template
from isotherm.wire.desired import RevisionSpec

__all__ = ["DriverSlot", "Materials", "TemplateSlot"]

DRIVER_WAIT_S = 10.0
BUILD_MARGIN_S = 30.0  # beyond the import's own limit: unpacking, mounts, a busy machine
CLOSE_TIMEOUT_S = 10.0


class Materials(Protocol):
    """Where code and dependencies of a revision lie."""

    async def sandbox_spec(self, revision: RevisionSpec) -> SandboxSpec:
        """Unpacks and installs what is missing. Raises `InvalidPackage`, `BuildFailed`, `Unavailable`."""


class DriverSlot:
    """The driver of this host; there is none while the warden is away."""

    def __init__(self) -> None:
        self._driver: Driver | None = None
        self._there = asyncio.Event()

    def put(self, driver: Driver) -> None:
        self._driver = driver
        self._there.set()

    def take(self) -> Driver | None:
        """Take the driver away; who asks for it now waits for the next."""
        driver, self._driver = self._driver, None
        self._there.clear()
        return driver

    def peek(self) -> Driver | None:
        return self._driver

    async def get(self, timeout_s: float = DRIVER_WAIT_S) -> Driver:
        """The driver, waited for. Raises `Unavailable`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._driver is None:
                    await self._there.wait()
        except TimeoutError as exc:
            raise Unavailable(
                f"the sandbox driver has been away for {timeout_s:g} s; the platform restarts it", retry_after_s=1.0
            ) from exc
        return self._driver


class TemplateSlot:
    """Holds the template of one revision, or builds it (single flight)."""

    def __init__(
        self,
        revision: RevisionSpec,
        materials: Materials,
        drivers: DriverSlot,
        builds: asyncio.Semaphore,
        on_egress: OnEgress,
        on_closed: Callable[[str], None],
    ) -> None:
        self._revision = revision
        self._materials = materials
        self._drivers = drivers
        self._builds = builds
        self._on_egress = on_egress
        self._on_closed = on_closed
        self._building: asyncio.Task[Template] | None = None
        self.template: Template | None = None
        self.used_bytes = 0

    async def get(self) -> Template:
        """The template, built where it is missing. Raises what `Driver.prepare` and `Materials` raise."""
        if self.template is not None:
            return self.template
        if self._building is None:
            self._building = asyncio.create_task(self._build(), name=f"build {self._revision.id}")
            self._building.add_done_callback(self._built)
        return await asyncio.shield(self._building)

    @property
    def building(self) -> bool:
        return self._building is not None

    async def close(self) -> None:
        """End the template and all its instances, or the build of it."""
        building = self._building
        if building is not None:
            building.cancel()
            await asyncio.wait([building], timeout=CLOSE_TIMEOUT_S)
        if self.template is not None:
            await self.release(self.template)

    def release(self, template: Template) -> Coroutine[Any, Any, None]:
        """Let go of the template at once, so that no start takes it any more; what is returned ends it."""
        self.template = None
        self.used_bytes = 0
        return _bounded(template.close())

    async def _build(self) -> Template:
        try:
            return await self._prepare()
        except IsothermError as error:
            mask = mask_of(self._revision)
            if mask is not None:  # the traceback of an import may show what it was given
                mask.error(error)
            raise

    async def _prepare(self) -> Template:
        async with self._builds:
            spec = await self._materials.sandbox_spec(self._revision)
            driver = await self._drivers.get()
            try:
                async with asyncio.timeout(self._revision.init_timeout_s + BUILD_MARGIN_S):
                    template = await driver.prepare(spec, self._on_egress)
            except TimeoutError as exc:
                raise Unavailable("the sandbox driver did not finish the template in time", retry_after_s=1.0) from exc
        template.closed.add_done_callback(lambda closed: self._gone(template, closed))
        self.template = template
        self.used_bytes = template.memory_bytes()
        return template

    def _built(self, task: asyncio.Task[Template]) -> None:
        if self._building is task:
            self._building = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def _gone(self, template: Template, closed: "asyncio.Future[str]") -> None:
        if self.template is template:
            self.template = None
            self.used_bytes = 0
            self._on_closed("it was cancelled" if closed.cancelled() else str(closed.exception() or closed.result()))


async def _bounded(closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await closing
    except (TimeoutError, IsothermError):
        return  # the driver ends what is left when it closes
