"""The peers: functions-framework under gunicorn, FastAPI under uvicorn, nginx before a lean asyncio worker."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants.process import Running, free_port, listening
from benchmarks.environments import MissingTool, environment_python

__all__ = ["Target", "fastapi", "functions_framework", "nginx"]

peers = Path(__file__).parent.parent / "peers"
START_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Target:
    """Something to send load to."""

    label: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()


@contextmanager
def functions_framework(folder: Path) -> Iterator[Target]:
    """functions-framework for Python, its WSGI app under gunicorn with two workers of its own thread setting."""
    python = environment_python("functions-framework")
    port = free_port()
    command = [str(python), "-m", "gunicorn", "--workers=2", f"--bind=127.0.0.1:{port}", "--log-level=warning"]
    source = peers / "framework_app.py"
    command += ["--backlog=1024", f"functions_framework:create_app(target='echo', source='{source}')"]
    with _running(command, folder / "functions-framework.log", port):
        yield Target("functions-framework", f"http://127.0.0.1:{port}/")


@contextmanager
def fastapi(folder: Path) -> Iterator[Target]:
    """FastAPI under uvicorn (uvloop, httptools) with two workers, access log off."""
    python = environment_python("fastapi")
    port = free_port()
    command = [str(python), "-m", "uvicorn", "fastapi_app:app", "--workers=2", "--no-access-log", "--log-level=warning"]
    command += ["--host=127.0.0.1", f"--port={port}", f"--app-dir={peers}"]
    with _running(command, folder / "fastapi.log", port):
        yield Target("FastAPI + uvicorn", f"http://127.0.0.1:{port}/echo")


@contextmanager
def nginx(folder: Path, workers: int = 1) -> Iterator[Target]:
    """nginx as a proxy, access log off, kept-alive connections to one lean worker on a Unix socket."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise MissingTool("nginx is not installed: apt-get install nginx-light")
    python = environment_python("lean")
    place = folder / f"nginx-{workers}"
    place.mkdir(parents=True)
    path, port = place / "worker.sock", free_port()
    config = place / "nginx.conf"
    template = (peers / "nginx.conf.in").read_text()
    config.write_text(template.format(folder=place, socket=path, port=port, workers=workers))
    place.chmod(0o755)  # nginx's workers are not root: they must reach the socket
    with ExitStack() as stack:
        worker = Running([str(python), str(peers / "lean_worker.py"), str(path)], place / "worker.log")
        stack.callback(worker.stop)
        worker.wait_until(lambda: _accepts(path), START_TIMEOUT_S)
        path.chmod(0o666)
        stack.enter_context(_running([program, "-p", str(place), "-c", str(config)], place / "nginx.log", port))
        yield Target(f"nginx → lean worker ({workers} nginx worker{'s' * (workers > 1)})", f"http://127.0.0.1:{port}/")


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[None]:
    running = Running(command, log)
    try:
        running.wait_until(lambda: listening(port), START_TIMEOUT_S)
        yield
    finally:
        running.stop()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
