"""The fake driver: the real runtime on threads of this process. For tests and simulation; nothing is isolated.

What it cannot do as a process would: raw descriptors 1 and 2 are this process's own, a killed instance's handler runs
on unseen until it returns, environment variables are set during the import alone, and memory is what a test says.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn

from isotherm.base.errors import ImportFailed, IsothermError, TimedOut, Unavailable
from isotherm.base.ids import new_id
from isotherm.sandbox.model import CheckResult, Exit, JobResult, JobSpec, Probe, SandboxSpec, TemplateInfo
from isotherm.sandbox.port import OnEgress
from isotherm_runtime import handler as runtime_handler
from isotherm_runtime import logs, restore
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.errors import ImportProblem
from isotherm_runtime.handler import Handler
from isotherm_runtime.serve import refuse, serve

__all__ = ["FakeDriver", "FakeFaults", "FakeInstance", "FakeTemplate"]

SIGKILL = 9


@dataclass(slots=True, kw_only=True)
class FakeFaults:
    """What goes wrong from now on; a test changes it while it runs. Delays in seconds."""

    prepare_delay_s: float = 0.0
    prepare_error: IsothermError | None = None
    unfit: tuple[str, ...] = ()
    start_delay_s: float = 0.0
    start_error: IsothermError | None = None
    die_at_start: Exit | None = None  # before HELLO
    say_hello: bool = True  # False: started, and silent for ever
    job_result: JobResult = JobResult(exit=Exit(status=0), output="")  # noqa: RUF009 - frozen, so safely shared
    job_delay_s: float = 0.0
    instance_memory_bytes: int = 16 << 20
    template_memory_bytes: int = 16 << 20


class FakeDriver:
    """`isolated` is what `probe` pretends. `templates` and `instances` are those alive, in the order of their start."""

    name = "fake"

    def __init__(self, faults: FakeFaults | None = None, *, isolated: bool = True) -> None:
        self.faults = faults or FakeFaults()
        self.templates: list[FakeTemplate] = []
        self.instances: list[FakeInstance] = []
        self.jobs: list[JobSpec] = []  # all that were asked for
        self.prepared = 0  # templates made so far
        self.started = 0  # instances made so far
        self._isolated = isolated

    async def probe(self) -> Probe:
        check = CheckResult("pretence", self._isolated, "in-process: for tests and simulation", "isolation")
        return Probe(self.name, (check,))

    async def prepare(self, spec: SandboxSpec, on_egress: OnEgress = lambda _report: None) -> "FakeTemplate":
        """Import on a thread. Nothing is kept in; a test reports by the template's `on_egress`.

        Raises `ImportFailed`, `TimedOut` and what the faults say.
        """
        await asyncio.sleep(self.faults.prepare_delay_s)
        if self.faults.prepare_error is not None:
            raise self.faults.prepare_error
        config = spec.runtime_config(
            [folder for folder in (spec.code_dir, spec.deps_dir) if folder], layers=spec.layers_dir or ""
        )
        before = set(threading.enumerate())
        loaded = _Loaded(config)
        try:
            await asyncio.wait_for(asyncio.to_thread(loaded.load), spec.init_timeout_s)
        except ImportProblem as problem:
            raise _import_failed(problem) from problem
        except TimeoutError:
            raise TimedOut(f"The import of {spec.handler} took longer than {spec.init_timeout_s:g} s") from None
        unfit = self.faults.unfit or _unfit(before)
        template = FakeTemplate(self, spec, config, loaded, unfit, on_egress)
        self.prepared += 1
        self.templates.append(template)
        return template

    async def run(self, job: JobSpec, on_output: Callable[[str], None]) -> JobResult:
        """Run nothing; give the result that the faults hold."""
        self.jobs.append(job)
        await asyncio.sleep(self.faults.job_delay_s)
        if self.faults.job_result.output:
            on_output(self.faults.job_result.output)
        return self.faults.job_result

    async def close(self) -> None:
        for template in list(self.templates):
            await template.close()
        if not _guests.users:
            logs.uninstall()


class FakeTemplate:
    """See `sandbox.port.Template`."""

    def __init__(
        self,
        driver: FakeDriver,
        spec: SandboxSpec,
        config: RuntimeConfig,
        loaded: "_Loaded",
        unfit: tuple[str, ...],
        on_egress: OnEgress,
    ) -> None:
        self.spec = spec
        self.on_egress = on_egress
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.instances: list[FakeInstance] = []
        self._driver = driver
        self._config = config
        self._loaded = loaded
        self._forks = spec.template and not unfit
        import_ms = loaded.handler.import_ms if loaded.handler else 0.0
        self.info = TemplateInfo(unfit=unfit, import_ms=import_ms, memory_bytes=driver.faults.template_memory_bytes)

    async def start(self) -> "FakeInstance":
        """Raises `Unavailable`, `ImportFailed` and what the faults say."""
        faults = self._driver.faults
        await asyncio.sleep(faults.start_delay_s)
        if faults.start_error is not None:
            raise faults.start_error
        if self.closed.done():
            raise Unavailable(f"The template of {self.spec.revision_id} is gone: {self.closed.result()}")
        loaded = self._loaded if self._forks else _Loaded(self._config)
        instance = FakeInstance(self._driver, self, self._config, loaded)
        self.instances.append(instance)
        self._driver.instances.append(instance)
        self._driver.started += 1
        instance.begin()
        return instance

    async def close(self) -> None:
        self.die("asked to")
        for instance in list(self.instances):
            await instance.exited

    def die(self, reason: str) -> None:
        """End the template and its instances, as when its process is killed."""
        for instance in list(self.instances):
            instance.kill()
        if not self.closed.done():
            self.closed.set_result(reason)
        if self in self._driver.templates:
            self._driver.templates.remove(self)

    def memory_bytes(self) -> int:
        return 0 if self.closed.done() else self._driver.faults.template_memory_bytes


class FakeInstance:
    """See `sandbox.port.Instance`. `die` is for tests, from any thread."""

    def __init__(self, driver: FakeDriver, template: FakeTemplate, config: RuntimeConfig, loaded: "_Loaded") -> None:
        self.id = new_id("ins")
        self.stream, self._end = socket.socketpair()
        self.stream.setblocking(False)
        self.output, self._output_end = os.pipe()
        os.set_blocking(self.output, False)
        self.start_steps_ms: Mapping[str, float] = {"fork": 0.0}
        self.memory_used_bytes = driver.faults.instance_memory_bytes
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self._driver = driver
        self._template = template
        self._config = config
        self._loaded = loaded
        self._ended = threading.Lock()

    def begin(self) -> None:
        faults = self._driver.faults
        _guests.enter()
        threading.Thread(target=self._live, args=(faults.say_hello,), name=self.id, daemon=True).start()
        if faults.die_at_start is not None:
            self.die(faults.die_at_start)

    def kill(self) -> None:
        self.die(Exit(signal=SIGKILL, asked=True))

    def die(self, how: Exit) -> None:
        """End now; the first end counts."""
        if not self._ended.acquire(blocking=False):
            return
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(RuntimeError):  # the test's loop is closed
            self._loop.call_soon_threadsafe(self._gone, how)

    def run_out_of_memory(self) -> None:
        """Die as at the memory limit."""
        self.die(Exit(signal=SIGKILL, out_of_memory=True))

    def memory_bytes(self) -> int:
        return 0 if self.exited.done() else self.memory_used_bytes

    def cpu_s(self) -> float:
        return 0.0

    def _gone(self, how: Exit) -> None:
        os.close(self._output_end)
        for instances in (self._template.instances, self._driver.instances):
            if self in instances:
                instances.remove(self)
        if not self.exited.done():
            self.exited.set_result(how)

    def _live(self, say_hello: bool) -> None:
        """The thread that is this instance's process."""
        _instance.set(self)
        try:
            if not say_hello:
                self._end.recv(1)
                return
            try:
                handler = self._loaded.restored()
            except ImportProblem as problem:
                refuse(self._end.fileno(), problem.head())
                self.die(Exit(status=1))
                return
            status = serve(self._end.fileno(), handler, self._config, owns_process=False)
            self.die(Exit(status=status))
        except OSError:
            self.die(Exit(status=1))  # killed while it started
        finally:
            self._end.close()
            _guests.leave()


class _Loaded:
    """The user's modules, as one template has them: kept out of `sys.modules` except while they are imported."""

    def __init__(self, config: RuntimeConfig) -> None:
        self.handler: Handler | None = None
        self._config = config
        self._modules: dict[str, ModuleType] = {}

    def load(self) -> Handler:
        """Import, and run the hooks for the snapshot. Raises `ImportProblem`. Blocks."""
        with self._visible():
            logs.install(owns_process=False)
            self.handler = runtime_handler.import_handler(self._config)
            restore.run_before_hooks()
        return self.handler

    def restored(self) -> Handler:
        """The handler, after the hooks for a restored snapshot. Raises `ImportProblem`. Blocks."""
        handler = self.handler or self.load()
        with self._visible():
            restore.run_after_hooks()
        return handler

    @contextlib.contextmanager
    def _visible(self) -> Iterator[None]:
        with _importing:
            path, environment, before = list(sys.path), dict(os.environ), set(sys.modules)
            sys.modules.update(self._modules)
            runtime_handler.apply_environment(self._config)
            try:
                yield
            finally:
                own = (*self._config.path, runtime_handler.SHIMS)
                for name, module in list(sys.modules.items()):
                    if name not in before and str(getattr(module, "__file__", None) or "").startswith(own):
                        self._modules[name] = sys.modules.pop(name)
                sys.path[:] = path
                os.environ.clear()
                os.environ.update(environment)


class _Guests:
    """While instances live, `os._exit` called in one of them ends it and not this process."""

    def __init__(self) -> None:
        self.users = 0
        self._lock = threading.Lock()
        self._exit = os._exit

    def enter(self) -> None:
        with self._lock:
            self.users += 1
            os._exit = _exit_instance

    def leave(self) -> None:
        with self._lock:
            self.users -= 1
            if not self.users:
                os._exit = self._exit

    def leave_process(self, status: int) -> NoReturn:
        self._exit(status)


class _Exited(BaseException):
    """Unwinds the handler that called `os._exit`."""


_instance: ContextVar[FakeInstance] = ContextVar("isotherm_fake_instance")
_importing = threading.RLock()
_guests = _Guests()


def _exit_instance(status: int) -> NoReturn:
    instance = _instance.get(None)
    if instance is None:
        _guests.leave_process(status)
    instance.die(Exit(status=status))
    raise _Exited


def _import_failed(problem: ImportProblem) -> ImportFailed:
    return ImportFailed(
        f"{problem.error_type}: {problem.message}",
        error_type=problem.error_type,
        error_message=problem.message,
        stack_trace=problem.stack_trace,
    )


def _unfit(before: set[threading.Thread]) -> tuple[str, ...]:
    """Threads that the import left running, which no fork would have."""
    names = [thread.name for thread in threading.enumerate() if thread not in before and not _is_ours(thread)]
    return (f"{len(names)} thread{'s' if len(names) > 1 else ''}: {', '.join(names[:4])}",) if names else ()


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith(("asyncio_", "ins_", "isotherm-"))
