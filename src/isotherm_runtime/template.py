"""The template: imports the user's module, then parks and is cloned. Untrusted from the import on.

After the import it forks once through libc and goes on as the child, so that all `pthread_atfork` handlers have run
(BLAS lets go of its threads) and later raw clones start from one consistent thread. A bare template has imported
only the platform's runtime; its instances import the user's module once they are confined.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import site
import socket
import sys
import time

from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot
from isotherm_runtime.confine import become_template, confine_instance, second_filter, settle_instance
from isotherm_runtime.seqpacket import PeerGone, close_all, receive, send

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import NoReturn

    from isotherm_runtime.handler import Handler, ImportProblem

__all__ = ["run_template"]

_thread_variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MAX_HEAD_BYTES = 64 * 1024


def run_template(keeper: socket.socket, boot: KeeperBoot, output: int, tasks: list[int], *, bare: bool) -> None:
    """Import (or, `bare`, not), park, then clone on request until the keeper goes."""
    for descriptor in tasks:
        os.write(descriptor, b"0")
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update({name: str(boot.threads) for name in _thread_variables})
    become_template(boot)
    os.chdir(boot.path[0])
    template = _Template(keeper, boot, tasks)
    if template.load(bare=bare):
        template.park()
        template.serve()


class _Template:
    """`tasks` are the join files of the template's own control groups."""

    def __init__(self, keeper: socket.socket, boot: KeeperBoot, tasks: list[int]) -> None:
        from isotherm_runtime.config import RuntimeConfig

        self._keeper = keeper
        self._boot = boot
        self._tasks = tasks
        self._filter = second_filter(boot)
        values = json.loads(boot.config) | {"path": boot.path, "layers": boot.layers}
        self._config = RuntimeConfig(**values)
        self._handler: Handler | None = None

    def load(self, *, bare: bool) -> bool:
        """Import what instances need, all the platform's own included; False where the keeper has been told why not."""
        from isotherm_runtime import serve  # noqa: F401  (instances find it loaded)
        from isotherm_runtime.handler import ImportProblem, load

        site.setquit()  # exit() and quit(), which -S leaves out
        if bare:
            self._await_park()
            return True
        started = time.perf_counter()
        try:
            self._handler = load(self._config)
        except ImportProblem as problem:
            self._report_problem(problem)
            return False
        import_ms = (time.perf_counter() - started) * 1000
        send(self._keeper, {"op": "imported", "threads": _thread_names(), "import_ms": import_ms})
        self._await_park()
        return True

    def park(self) -> None:
        """Go on as the child of one libc fork."""
        from isotherm_runtime import restore
        from isotherm_runtime.handler import ImportProblem

        try:
            restore.reseed()  # once here: what OpenSSL and numpy set up at their first use is not done in each fork
            restore.before_checkpoint()
        except ImportProblem as problem:  # a hook of the user raised
            self._report_problem(problem)
            os._exit(1)
        importer = os.pidfd_open(os.getpid())
        if os.fork():
            os._exit(0)
        linux.await_exit(importer)  # once it has gone our parent is the keeper, whose death is to be ours
        os.close(importer)
        if self._boot.isolated:
            linux.set_dumpable()
        linux.set_parent_death_signal(signal.SIGKILL)
        gc.disable()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        send(self._keeper, {"op": "parked"})

    def serve(self) -> None:
        """Clone an instance for each message of the keeper."""
        flags = linux.instance_flags(own_network=self._boot.own_network) if self._boot.isolated else 0
        while True:
            try:
                _, (go, stream, output, *tasks) = receive(self._keeper)
            except PeerGone:
                return
            for descriptor in tasks:  # this only thread joins the instance's groups, so that the child is born there
                os.write(descriptor, b"0")
            pid, pidfd = linux.clone(flags)
            if pid == 0:
                self._become_instance(go, stream, output)
            send(self._keeper, {"op": "forked"}, [pidfd])
            for descriptor in self._tasks:
                os.write(descriptor, b"0")
            close_all((go, stream, output, pidfd, *tasks))

    def _await_park(self) -> None:
        receive(self._keeper)

    def _report_problem(self, problem: ImportProblem) -> None:
        _flush()
        head = problem.head()
        if len(head) > _MAX_HEAD_BYTES:
            problem.stack_trace = problem.stack_trace[-3:]
            head = problem.head()
        send(self._keeper, {"op": "problem", "head": json.loads(head)})

    def _become_instance(self, go: int, stream: int, output: int) -> NoReturn:
        status = 1
        try:
            settle_instance(self._boot)
            os.dup2(output, 1)
            os.dup2(output, 2)
            _close_all_but(go, stream)
            os.read(go, 1)
            confine_instance(self._boot, self._filter)
            os.write(go, b"d")
            if os.read(go, 1) == b"s":  # verified: the user's code may run now
                os.close(go)
                gc.enable()
                status = self._run(stream)
        except BaseException as exc:  # noqa: BLE001  (nothing may unwind into the template's code)
            os.write(2, f"instance: {exc!r}\n".encode())
        finally:
            _flush()
            os._exit(status)

    def _run(self, stream: int) -> int:
        """Serve with the front end of the runtime; the exit status, unless another program takes over."""
        if self._config.runtime.startswith("nodejs"):
            from isotherm_runtime import nodejs

            nodejs.become(self._boot.executable, stream, self._config)
        if self._config.runtime == "provided":
            from isotherm_runtime import bridge

            return bridge.serve(stream, self._config)
        return self._run_python(stream)

    def _run_python(self, stream: int) -> int:
        from isotherm_runtime import restore, serve
        from isotherm_runtime.handler import ImportProblem, load

        debugger = None
        if self._config.debug:
            from isotherm_runtime.debugger import Debugger

            debugger = Debugger(stream, self._config.path)
            stream = debugger.stream
            if debugger.problem is not None:
                serve.refuse(stream, debugger.problem)
                debugger.finish()
                return 1
        try:
            restore.after_fork()
            if self._handler is None:
                self._handler = load(self._config)
            status = serve.serve(stream, self._handler, self._config)
        except ImportProblem as problem:
            serve.refuse(stream, problem.head())
            status = 1
        if debugger is not None:
            debugger.finish()
        return status


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the user may have put anything there
            stream.flush()


def _thread_names() -> list[str]:
    threading = sys.modules.get("threading")
    return [] if threading is None else [thread.name for thread in threading.enumerate()]


def _close_all_but(*kept: int) -> None:
    first = 3
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 4096)
