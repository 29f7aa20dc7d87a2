"""Code and dependencies of revisions on this host's disk, by content: unpacked and installed once, found again."""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from isotherm.base.errors import BuildFailed, NotFound, TooLarge, Unavailable
from isotherm.base.runtimes import find_node
from isotherm.base.settings import Settings
from isotherm.host.debugger import debugger_digest, lay_debugger
from isotherm.host.disk import DiskBook
from isotherm.host.installer import install_jobs, installer_error
from isotherm.host.layers import lay, layers_digest
from isotherm.host.packages import readable_by_all, unpack
from isotherm.host.wanted import Wanted, read_wanted, wanted_digest
from isotherm.pool.templates import DriverSlot
from isotherm.pool.tenants import Tenants
from isotherm.sandbox.model import SandboxLimits, SandboxSpec
from isotherm.sandbox.policy import unforkable
from isotherm.storage.port import Blobs
from isotherm.wire.desired import RevisionSpec
from isotherm.wire.egress import allowed

__all__ = ["MaterialStore", "OnStep"]

OnStep = Callable[[str, str, str], None]  # (step, state, message)

REVISION_PIDS = 4096
UNUSED_S = 3600.0  # a folder that nothing refers to is kept this long
MIB = 1024 * 1024


def no_step(_step: str, _state: str, _message: str) -> None:
    """Nobody watches."""


class MaterialStore:
    """Below DATA/host: `code/<digest>/`, `deps/<digest>/` and `layers/<digest>/`."""

    def __init__(self, folder: Path, blobs: Blobs, drivers: DriverSlot, settings: Settings, tenants: Tenants) -> None:
        self._code = folder / "code"
        self._deps = folder / "deps"
        self._layers = folder / "layers"
        self.disk = DiskBook(self._code, self._deps, self._layers, tenants)
        self._blobs = blobs
        self._drivers = drivers
        self._settings = settings
        self._running: dict[Path, asyncio.Task[None]] = {}
        for place in (self._code, self._deps, self._layers):
            place.mkdir(parents=True, exist_ok=True, mode=0o755)

    async def sandbox_spec(self, revision: RevisionSpec) -> SandboxSpec:
        return await self.ensure(revision, no_step)

    async def prepare(self, revision: RevisionSpec, on_step: OnStep) -> None:
        """For a new revision: as `ensure`, within the quota of its namespace.

        Raises `TooLarge` where it is over; then nothing is left of it that no other revision needs.
        """
        try:
            await self.ensure(revision, on_step, new=True)
        except TooLarge:
            await asyncio.to_thread(self._drop, revision)
            raise

    async def ensure(self, revision: RevisionSpec, on_step: OnStep, *, new: bool = False) -> SandboxSpec:
        """Unpack and install what is missing. `new`: see `prepare`; what was let in once is never refused later.

        Raises `InvalidPackage`, `BuildFailed`, `NotIsolated`, `Unavailable`.
        """
        self.disk.know(revision)
        code = self._code / revision.package
        await self._once("unpack", code, on_step, lambda: self._unpack(revision.package))
        await self._lay(revision, on_step)
        if new:
            await asyncio.to_thread(self.disk.check, revision.namespace)  # before much more comes on top
        wanted = await asyncio.to_thread(_read_wanted, code, revision)
        deps = None if wanted is None else self._deps / wanted.digest
        if wanted is not None and deps is not None:
            folder = deps
            await self._once("dependencies", folder, on_step, lambda: self._install(wanted, code, folder, on_step))
        if revision.debug:
            deps = await self._with_debugger(deps, on_step)
        if new:
            await asyncio.to_thread(self.disk.check, revision.namespace)
        return self._spec(revision, code, deps)

    async def _with_debugger(self, deps: Path | None, on_step: OnStep) -> Path:
        digest = debugger_digest(None if deps is None else deps.name)
        folder = self._deps / (digest or "no-debugger")
        await self._once("debugger", folder, on_step, lambda: self._lay_debugger(deps, folder))
        return folder

    async def _lay_debugger(self, deps: Path | None, folder: Path) -> None:
        fresh = folder.with_name(f".{folder.name}.new")
        try:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)
            await asyncio.to_thread(lay_debugger, deps, fresh)
            await asyncio.to_thread(_publish, fresh, folder)
        except OSError as exc:
            raise BuildFailed(f"the debugger cannot be laid below {folder.parent}: {exc.strerror}", log="") from exc
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    def sweep(self, revisions: list[RevisionSpec]) -> None:
        """Remove folders that none of `revisions` uses and that have been there for a while. Blocks."""
        codes = {revision.package for revision in revisions}
        deps = {
            wanted_digest(self._code / revision.package, revision.runtime, scripts=revision.install_scripts)
            if revision.install
            else None
            for revision in revisions
        }
        debugged = {debugger_digest(digest) for digest in deps} if any(each.debug for each in revisions) else set()
        layers = {layers_digest([digest for _, digest in each.layers]) for each in revisions if each.layers}
        for place, used in ((self._code, codes), (self._deps, deps | debugged), (self._layers, layers)):
            for entry in list(place.iterdir()):
                if entry.name not in used and time.time() - entry.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(entry, ignore_errors=True)
        self.disk.retain({revision.id for revision in revisions})

    async def _once(self, step: str, folder: Path, on_step: OnStep, make: Callable[[], Awaitable[None]]) -> None:
        """Make a folder by one task, however many wait for it."""
        task = self._running.get(folder)
        if task is None:
            if await asyncio.to_thread(folder.is_dir):
                on_step(step, "cached", "")
                return
            task = self._running.get(folder)
        if task is None:
            task = self._running[folder] = asyncio.create_task(_unless_there(folder, make))
            task.add_done_callback(lambda _: self._running.pop(folder, None))
        on_step(step, "running", "")
        await asyncio.shield(task)
        on_step(step, "done", "")

    def _drop(self, revision: RevisionSpec) -> None:
        """Remove what this revision alone needs and nobody makes or uses. Blocks."""
        mine = self.disk.folders(revision.namespace) - self.disk.folders(None, but=revision.id)
        self.disk.forget(revision.id)
        for folder in mine - set(self._running):
            shutil.rmtree(folder, ignore_errors=True)

    async def _lay(self, revision: RevisionSpec, on_step: OnStep) -> None:
        digests = [digest for _, digest in revision.layers]
        if not digests:
            return
        folder = self._layers / layers_digest(digests)

        async def lay_now() -> None:
            try:
                await asyncio.to_thread(lay, digests, folder, self._blobs.open, self._settings.max_unpacked_mb * MIB)
            except NotFound as exc:
                raise Unavailable("a layer is not in the store; publish it again", layers=digests) from exc
            except OSError as exc:
                raise Unavailable(f"the layers cannot be unpacked below {folder.parent}: {exc.strerror}") from exc

        await self._once("layers", folder, on_step, lay_now)

    async def _unpack(self, digest: str) -> None:
        folder = self._code / digest
        try:
            await asyncio.to_thread(self._unpack_now, digest, folder)
        except NotFound as exc:
            raise Unavailable(
                f"the package {digest[:12]}… is not in the store; deploy it again", package=digest
            ) from exc
        except OSError as exc:
            raise Unavailable(f"the package cannot be unpacked below {folder.parent}: {exc.strerror}") from exc

    def _unpack_now(self, digest: str, folder: Path) -> None:
        with self._blobs.open(digest) as source:
            unpack(source, folder, self._settings.max_unpacked_mb * MIB)

    async def _install(self, wanted: Wanted, code: Path, folder: Path, on_step: OnStep) -> None:
        fresh = folder.with_name(f".{folder.name}.new")
        try:
            await asyncio.to_thread(_make_ready, fresh, wanted.npm)
            driver = await self._drivers.get()
            node = await asyncio.to_thread(find_node)
            jobs = await asyncio.to_thread(install_jobs, wanted, code, fresh, self._settings, os.environ, node)
            for tool, job in jobs.items():
                result = await driver.run(job, lambda text: on_step("dependencies", "running", text[-2000:]))
                problem = installer_error(tool, result, self._settings.build_timeout_s, job.memory_bytes)
                if problem is not None:
                    raise problem
            await asyncio.to_thread(_publish, fresh, folder)
        except OSError as exc:
            raise BuildFailed(
                f"the dependencies cannot be written below {folder.parent}: {exc.strerror}", log=""
            ) from exc
        finally:
            await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)

    def _spec(self, revision: RevisionSpec, code: Path, deps: Path | None) -> SandboxSpec:
        memory = revision.memory_mb * MIB
        instances = revision.warm.max_instances + 1
        region = self._settings.region
        return SandboxSpec(
            revision_id=revision.id,
            runtime=revision.runtime,
            handler=revision.handler,
            code_dir=str(code),
            deps_dir=None if deps is None else str(deps),
            layers_dir=str(self._layers / layers_digest([d for _, d in revision.layers])) if revision.layers else None,
            env=revision.env,
            limits=SandboxLimits(
                memory_bytes=memory,
                cpus=revision.cpus,
                pids=revision.pids + revision.concurrency,  # `pids` are beside the threads that serve calls
                tmp_bytes=revision.tmp_mb * MIB,
                revision_memory_bytes=memory * (instances + 1),
                revision_pids=min(REVISION_PIDS * 8, (revision.pids + revision.concurrency) * (instances + 1)),
            ),
            timeout_s=revision.timeout_s,
            init_timeout_s=revision.init_timeout_s,
            concurrency=revision.concurrency,
            dispatch=revision.dispatch,
            template=revision.warm.template and not unforkable(revision.runtime),
            threads=revision.threads,
            log_limit_bytes=self._settings.log_call_kb * 1024,
            function_name=revision.name,
            function_version="$LATEST" if revision.head else str(revision.number),
            function_arn=f"arn:aws:lambda:{region}:{revision.namespace}:function:{revision.name}",
            memory_mb=revision.memory_mb,
            region=region,
            request_body=revision.request_body,
            egress=allowed(revision.egress),
            debug=revision.debug,
        )


def _read_wanted(code: Path, revision: RevisionSpec) -> Wanted | None:
    """Blocks. Raises `InvalidPackage`."""
    if not revision.install:
        return None
    return read_wanted(code, revision.runtime, scripts=revision.install_scripts)


def _make_ready(folder: Path, files: dict[str, bytes]) -> None:
    """An empty folder, but for these files."""
    _empty(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o755)


def _publish(fresh: Path, folder: Path) -> None:
    readable_by_all(fresh)
    fresh.rename(folder)


async def _unless_there(folder: Path, make: Callable[[], Awaitable[None]]) -> None:
    if not await asyncio.to_thread(folder.is_dir):
        await make()
