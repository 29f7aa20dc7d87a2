"""The warden's nurseries: one per tenant, started when it is first needed, the least used let go."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

import isotherm
import isotherm_runtime
from isotherm.warden.launcher import base_environment, close_all_but
from isotherm.warden.launching import LaunchFailed, collect_later
from isotherm.warden.nursery import LaunchOrder
from isotherm.warden.tree import Interpreter
from isotherm_runtime.seqpacket import PeerGone, send

__all__ = ["Nurseries"]

_MOST = 16
_SEND_TIMEOUT_S = 5.0
_source = "import sys; sys.path[:0] = {paths!r}; from isotherm.warden.nursery import main; main({fd})"


class _Nursery:
    def __init__(self, interpreter: Interpreter, others: Iterable[Interpreter]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_SEND_TIMEOUT_S)
        paths = list(dict.fromkeys(str(Path(module.__path__[0]).parent) for module in (isotherm, isotherm_runtime)))
        argv = [interpreter.executable, "-I", "-S", "-c", _source.format(paths=paths, fd=theirs.fileno())]
        self._pid = os.fork()
        if self._pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                close_all_but(theirs.fileno())
                for descriptor in (0, 1, 2, theirs.fileno()):  # a gap below 3 would be filled by what must not be there
                    os.set_inheritable(descriptor, True)
                os.execve(argv[0], argv, base_environment((interpreter, *others)))  # noqa: S606  (no shell is the point)
            finally:
                os._exit(1)
        theirs.close()
        self._pidfd = os.pidfd_open(self._pid)

    def launch(self, order: LaunchOrder, descriptors: Sequence[int]) -> None:
        """Raises `PeerGone`, `TimeoutError`."""
        send(self._channel, order.to_message(), descriptors)

    def close(self) -> None:
        """Let it go; the keepers that came from it stay."""
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        collect_later(self._pidfd)


class Nurseries:
    """Belongs to the warden's loop. `programs` are what the code in a sandbox finds by name."""

    def __init__(self, programs: Iterable[Interpreter]) -> None:
        self._programs = tuple(programs)
        self._nurseries: OrderedDict[tuple[str, str], _Nursery] = OrderedDict()

    def launch(self, tenant: str, interpreter: Interpreter, order: LaunchOrder, descriptors: Sequence[int]) -> None:
        """Build a sandbox; what comes of it comes over the first descriptor. Raises `LaunchFailed`."""
        for _ in range(2):  # one may have died since it was last used
            nursery = self._find(tenant, interpreter)
            try:
                nursery.launch(order, descriptors)
            except (PeerGone, TimeoutError):
                self._nurseries.pop((tenant, interpreter.name)).close()
            else:
                return
        raise LaunchFailed("the interpreter that sandboxes are forked from cannot be started")

    def warm(self, tenant: str, interpreter: Interpreter) -> None:
        """Have it ready before it is asked for."""
        with contextlib.suppress(OSError):  # then the first launch says why
            self._find(tenant, interpreter)

    def close(self) -> None:
        while self._nurseries:
            self._nurseries.popitem()[1].close()

    def _find(self, tenant: str, interpreter: Interpreter) -> _Nursery:
        key = (tenant, interpreter.name)
        if key not in self._nurseries:
            if len(self._nurseries) >= _MOST:
                self._nurseries.popitem(last=False)[1].close()
            self._nurseries[key] = _Nursery(interpreter, self._programs)
        self._nurseries.move_to_end(key)
        return self._nurseries[key]
