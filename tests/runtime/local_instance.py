"""The runtime in a process of its own, without a sandbox: for what a fake cannot show."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isotherm.sandbox.model import Exit
from isotherm_runtime.config import RuntimeConfig

SOURCES = str(Path(__file__).parents[2] / "src")
PROGRAM = """
import os, sys
fd = int(sys.argv[1])
from isotherm_runtime import config, handler, restore, serve
made = config.RuntimeConfig.from_json(sys.stdin.buffer.read())
try:
    loaded = handler.load(made)
    restore.before_checkpoint()
    restore.after_fork()
except handler.ImportProblem as problem:
    serve.refuse(fd, problem.head())
    os._exit(1)
os._exit(serve.serve(fd, loaded, made))
"""


class LocalInstance:
    """As `sandbox.port.Instance`; `output` is a file of what came through descriptors 1 and 2."""

    def __init__(self, folder: Path, code: str, *, python: str = sys.executable, **config: Any) -> None:
        (folder / "app.py").write_text(code)
        self.id = "ins_local"
        self.stream, end = socket.socketpair()
        self.stream.setblocking(False)
        self.output_file = folder / "output"
        made = RuntimeConfig(handler="app.handler", path=[str(folder)], **config)
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [python, "-c", PROGRAM, str(end.fileno())],
                pass_fds=[end.fileno()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={"PYTHONPATH": SOURCES, "PATH": os.environ["PATH"]},
                cwd=folder,
            )
        end.close()
        assert self.process.stdin is not None
        self.process.stdin.write(made.to_json())
        self.process.stdin.close()
        self.start_steps_ms: Mapping[str, float] = {}
        self.output = -1
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[Exit] = loop.create_future()
        self._asked = False
        loop.run_in_executor(None, self._wait, loop)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        code = self.process.wait()
        ended = Exit(signal=-code, asked=self._asked) if code < 0 else Exit(status=code, asked=self._asked)
        loop.call_soon_threadsafe(lambda: self.exited.done() or self.exited.set_result(ended))

    def kill(self) -> None:
        if self.process.poll() is None:
            self._asked = True
            self.process.kill()

    def memory_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")

    def cpu_s(self) -> float:
        return 0.0
