"""A real egress process for tests: started as the supervisor starts it, introduced to a warden."""

import json
import os
import signal
import socket
import sys
from types import TracebackType
from typing import Any

from isotherm.warden.launch import EGRESS_ID, Identity, Launch, interpreter_paths, start
from tests.egress.outside import NAME_SERVER
from tests.sandbox.warden_process import WardenProcess

__all__ = ["OWN_PORT", "EgressProcess"]

OWN_PORT = 47070  # stands for the platform's


class EgressProcess:
    """`with EgressProcess(warden)`: there until the end of the block. `kill` and `start` in between are a restart."""

    def __init__(self, warden: WardenProcess, **changes: Any) -> None:
        self._warden = warden
        self._changes = changes
        self._supervisor: socket.socket | None = None
        self.pid = 0

    def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        boot = os.memfd_create("boot")
        message = {
            "supervisor_fd": theirs.fileno(),
            "own_ports": [OWN_PORT],
            "resolver": NAME_SERVER,
            "never": "",
            "connections": 64,
            "idle_s": 60.0,
        }
        os.write(boot, json.dumps(message | self._changes).encode())
        os.lseek(boot, 0, os.SEEK_SET)
        self.pid = start(
            Launch(
                argv=(sys.executable, "-P", "-m", "isotherm.egress", "--boot-fd", str(boot)),
                env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
                fds=(boot, theirs.fileno()),
                identity=Identity(EGRESS_ID, EGRESS_ID),
                readable=interpreter_paths(),
            )
        )
        os.close(boot)
        theirs.close()
        self._supervisor = ours
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        socket.send_fds(ours, [b'{"op":"peer"}'], [one.fileno()])
        self._warden.tell("egress", other.fileno())
        one.close()
        other.close()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._collect()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def __enter__(self) -> "EgressProcess":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            self._collect()

    def _collect(self) -> None:
        os.waitpid(self.pid, 0)
        self.pid = 0
        if self._supervisor is not None:
            self._supervisor.close()
