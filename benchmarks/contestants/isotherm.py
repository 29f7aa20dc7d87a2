"""Isotherm as its users have it: `isotherm up`, REST, HTTP. Default settings but for what a benchmark is about."""

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.contestants.peers import Target
from benchmarks.contestants.process import Running, wait_for
from benchmarks.machine import find_process
from isotherm.replay.platform import read_metrics

__all__ = ["Isotherm", "isotherm", "package", "setting"]

functions = Path(__file__).parent.parent / "functions"
START_TIMEOUT_S = 60.0
DEPLOY_TIMEOUT_S = 300.0


def package(name: str) -> bytes:
    """The zip of a function in `functions/`; `sklearn` brings the probe as a module of its own."""
    files = {"app.py": functions / name / "app.py", "requirements.txt": functions / name / "requirements.txt"}
    if name == "sklearn":
        files["probe.py"] = functions / "probe" / "app.py"
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for inside, path in files.items():
            if path.exists():
                entry = zipfile.ZipInfo(inside, date_time=(2020, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, path.read_bytes())
    return output.getvalue()


class Isotherm:
    """One platform with a data folder of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self._flags = flags
        self._running: Running | None = None
        self._http = httpx.Client(timeout=60.0)
        self.ready: dict[str, Any] = {}

    def start(self) -> None:
        """`isotherm up` until its ready file is there."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        os.environ["XDG_CONFIG_HOME"] = str(self.folder / "config")  # `up` saves a profile: not in the user's own
        command = [sys.executable, "-m", "isotherm", "up", "--port", "0", "--content-port", "0"]
        command += ["--data", str(self.folder / "data"), "--ready-file", str(ready), *self._flags]
        self._running = Running(command, self.folder / "isotherm.log")
        self._running.wait_until(ready.exists, START_TIMEOUT_S)
        self.ready = json.loads(ready.read_text())
        self._http.headers["Authorization"] = f"Bearer {self.key}"

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def restart(self) -> None:
        """Stop and start again on the same data: nothing is warm afterwards."""
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    @property
    def key(self) -> str:
        return str(self.ready["admin_key"])

    @property
    def url(self) -> str:
        return str(self.ready["url"]).rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        """Of the API port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)

    @property
    def host_pid(self) -> int:
        """The host process: the gateway and the pool."""
        return find_process(self.pid, "isotherm.host")

    def upload(self, code: bytes) -> str:
        """The digest of an uploaded package."""
        answer = self._call("POST", "/packages", content=code, headers={"Content-Type": "application/zip"})
        return str(answer["digest"])

    def deploy(self, name: str, digest: str, **config: Any) -> None:
        """Deploy a function in the namespace `default` and wait until it is ready."""
        revision = self._call("PUT", f"/functions/{name}", json={"package": digest, **config})
        if revision["state"] == "building":  # the stream ends once the route is served, too
            path = f"{self.url}/api/v1/namespaces/default/functions/{name}/revisions/{revision['number']}/progress"
            with self._http.stream("GET", path, timeout=DEPLOY_TIMEOUT_S) as steps:
                revision = json.loads(list(steps.iter_lines())[-1])
        if revision["state"] != "ready":
            raise RuntimeError(f"{name}: {revision}")

    def remove(self, name: str) -> None:
        self._call("DELETE", f"/functions/{name}")

    def steer(self, name: str, action: str) -> None:
        """Pause, resume or purge a function's asynchronous calls."""
        self._call("POST", f"/functions/{name}/queue/{action}")

    def queues(self) -> list[Any]:
        """What waits and runs of asynchronous calls, by function."""
        return list(self._call("GET", "/queues")["queues"])

    def listing(self, limit: int) -> list[Any]:
        """One page of the functions."""
        return list(self._call("GET", f"/functions?limit={limit}")["items"])

    def instances(self, name: str) -> dict[str, int]:
        """How many of a function there are, by temperature."""
        return read_metrics(self._http.get(f"{self.url}/metrics").content, 0.0, {name}).instances.get(name, {})

    def invoke(self, name: str, event: dict[str, Any]) -> Any:
        """Through the Invoke route. Raises `RuntimeError` where the function failed."""
        path = f"{self.url}/2015-03-31/functions/{name}/invocations"
        answer = self._http.post(path, json=event)
        if answer.status_code != 200 or "x-amz-function-error" in answer.headers:
            raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    def by_url(self, name: str, label: str) -> Target:
        return Target(label, f"{str(self.ready['content_url']).rstrip('/')}/{name}/", self._headers)

    def by_invoke(self, name: str, label: str) -> Target:
        return Target(label, f"{self.url}/2015-03-31/functions/{name}/invocations", self._headers)

    @property
    def _headers(self) -> tuple[tuple[str, str], ...]:
        return (("Authorization", f"Bearer {self.key}"),)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """One REST call; again after a pause where the platform says that it is too fast."""
        answer: list[httpx.Response] = []

        def accepted() -> bool:
            answer[:] = [self._http.request(method, f"{self.url}/api/v1/namespaces/default{path}", **arguments)]
            return answer[0].status_code not in (429, 503)

        wait_for(f"{method} {path}", accepted, 30.0)
        if not answer[0].is_success:
            raise RuntimeError(f"{method} {path}: {answer[0].status_code} {answer[0].text[:1000]}")
        return answer[0].json() if answer[0].content else None


@contextmanager
def isotherm(folder: Path, *flags: str) -> Iterator[Isotherm]:
    """A platform that runs, and is stopped at the end."""
    folder.mkdir(parents=True)
    platform = Isotherm(folder, *flags)
    platform.start()
    try:
        yield platform
    finally:
        platform.stop()


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """Platforms that start meanwhile have that environment variable."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
