"""The runtime in a process of its own, without a sandbox: for what a fake cannot show."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isotherm.base.runtimes import find_node, is_node
from isotherm.sandbox.model import Exit
from isotherm_runtime.config import RuntimeConfig

SOURCES = str(Path(__file__).parents[2] / "src")
BEGIN = """
import os, sys
fd = int(sys.argv[1])
from isotherm_runtime import config
made = config.RuntimeConfig.from_json(sys.stdin.buffer.read())
"""
PYTHON = """
from isotherm_runtime import handler, restore, serve
try:
    loaded = handler.load(made)
    restore.before_checkpoint()
    restore.after_fork()
except handler.ImportProblem as problem:
    serve.refuse(fd, problem.head())
    os._exit(1)
os._exit(serve.serve(fd, loaded, made))
"""
NODE = "from isotherm_runtime import nodejs; nodejs.become(sys.argv[2], fd, made)"
PROVIDED = "from isotherm_runtime import bridge; os._exit(bridge.serve(fd, made))"
NODE_PROGRAM = find_node()


class LocalInstance:
    """As `sandbox.port.Instance`; `output` is a file of what came through descriptors 1 and 2.

    `code` is app.py, or the package's files by name. The front end is that of `runtime`.
    """

    def __init__(
        self, folder: Path, code: str | Mapping[str, str], *, python: str = sys.executable, **config: Any
    ) -> None:
        for name, text in ({"app.py": code} if isinstance(code, str) else code).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.id = "ins_local"
        self.stream, end = socket.socketpair()
        self.stream.setblocking(False)
        self.output_file = folder / "output"
        made = RuntimeConfig(**{"handler": "app.handler", "path": [str(folder)], **config})
        node = NODE_PROGRAM.executable if NODE_PROGRAM is not None else ""
        with self.output_file.open("wb") as output:
            self.process = subprocess.Popen(
                [python, "-c", BEGIN + _front_end(made.runtime), str(end.fileno()), node],
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


def _front_end(runtime: str) -> str:
    if is_node(runtime):
        return NODE
    return PROVIDED if runtime == "provided" else PYTHON
