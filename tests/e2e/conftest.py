"""A real platform: `isotherm up` on free ports with a temporary data folder, and ways to use and to harm it."""

import functools
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.warden.launch import service_identity
from tests.conftest import groups_of, mounts_below, processes_with, require

START_S = 60.0
STOP_S = 60.0
MODULES = {
    "warden": "isotherm.warden",
    "host": "isotherm.host",
    "control": "isotherm.controllers",
    "egress": "isotherm.egress",
}


def _compiled() -> Path:
    """Where commands, whoever runs them, keep compiled loops: once for all tests. Control has a folder of its own."""
    folder = Path(tempfile.gettempdir()) / "isotherm-tests-compiled"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return folder


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all clients: to make one takes longer than many a call."""
    return ssl.create_default_context()


@functools.cache
def _loops() -> Path:
    """A folder of compiled loops, filled."""
    command = [sys.executable, "-m", "isotherm.warming.prepare"]
    subprocess.run(command, env={**os.environ, "ISOTHERM_COMPILED_DIR": str(_compiled())}, check=True)
    return max(_compiled().glob(f"compiled-*-{os.geteuid()}/filled"), key=os.path.getmtime).parent


def _lend_loops(data: Path) -> None:
    """To the control process of a new platform: to compile them would cost each three seconds of CPU time."""
    if data.exists() or os.geteuid() != 0:
        return
    control = service_identity(None)
    own = data / "compiled" / f"{_loops().name.rpartition('-')[0]}-{control.uid}"
    shutil.copytree(_loops(), own)
    for path in (own.parent, own, *own.iterdir()):
        os.chown(path, control.uid, control.gid)


class Ran:
    """A command of the command line that ended."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Platform:
    """One running `isotherm up`. `folder` outlives it, so that another can start from the same state."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """`wrapper`: a program and its arguments that runs the command which it is given after them."""
        self.folder = folder
        self.ready: dict[str, Any] = {}
        self._ready_file = folder / "ready.json"
        self._ready_file.unlink(missing_ok=True)
        self.log = folder / "log"
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "NO_COLOR": "1"}
        for name in ("ISOTHERM_URL", "ISOTHERM_KEY", "ISOTHERM_NAMESPACE"):
            self.environment.pop(name, None)
        self.environment["ISOTHERM_COMPILED_DIR"] = str(_compiled())
        _lend_loops(folder / "data")
        argv = [*wrapper, sys.executable, "-m", "isotherm", "up", "--data", str(folder / "data"), "--port", "0"]
        argv += ["--content-port", "0", "--ready-file", str(self._ready_file), *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                env=self.environment | (environment or {}),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise AssertionError(f"the platform did not start:\n{self.text_of_log()}")
            time.sleep(0.02)
        self.ready = json.loads(self._ready_file.read_text())
        self.environment |= {"ISOTHERM_URL": self.ready["url"], "ISOTHERM_KEY": self.ready["admin_key"]}

    def text_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-8000:]

    # Using it

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.ready['admin_key']}"}

    def http(self, **options: Any) -> httpx.Client:
        """A client of the API port with the admin key."""
        return httpx.Client(base_url=self.ready["url"], headers=self.headers, timeout=60, verify=_tls(), **options)

    def content(self, **options: Any) -> httpx.Client:
        """A client of the content port with the admin key."""
        return httpx.Client(
            base_url=self.ready["content_url"], headers=self.headers, timeout=60, verify=_tls(), **options
        )

    def cli(self, *argv: str, timeout_s: float = 120, **options: Any) -> Ran:
        argv = (sys.executable, "-m", "isotherm", *argv)
        return Ran(
            subprocess.run(
                argv, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False, **options
            )
        )

    def deploy(self, folder: Path, *flags: str) -> str:
        """Deploy a folder that must deploy; returns its URL."""
        ran = self.cli("deploy", str(folder), "--json", *flags, timeout_s=900)
        assert ran.code == 0, ran.out + ran.err + self.text_of_log()
        return str(ran.json["url"])

    def function(self, name: str, code: str, *flags: str, **manifest: Any) -> str:
        """Deploy `code` as app.py with these keys in isotherm.toml."""
        folder = self.folder / "code" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "app.py").write_text(code)
        tables = {key: value for key, value in manifest.items() if isinstance(value, dict)}
        lines = [f"{key} = {json.dumps(value)}" for key, value in manifest.items() if key not in tables]
        for table, values in tables.items():
            lines += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        (folder / "isotherm.toml").write_text("\n".join([f'name = "{name}"', *lines]) + "\n")
        return self.deploy(folder, *flags)

    def temperatures(self, name: str) -> Counter[str]:
        """How many instances of a function hosts have last told of, by temperature."""
        counts: Counter[str] = Counter()
        for state in self.cli("show", name, "--json").json["states"]:
            counts.update(state["temperatures"])
        return counts

    def invoke(self, name: str, event: Any = None, **options: Any) -> httpx.Response:
        with self.http() as http:
            return http.post(f"/2015-03-31/functions/{name}/invocations", json=event or {}, **options)

    # Harming it

    def pid(self, process: str) -> int:
        """The process id of warden, host or control."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for pid in descendants(self.process.pid):
                if command_of(pid)[2:4] == ["-m", MODULES[process]]:
                    return pid
            time.sleep(0.01)
        raise AssertionError(f"no {process} process:\n{self.text_of_log()}")

    def kill(self, process: str) -> int:
        pid = self.pid(process)
        os.kill(pid, signal.SIGKILL)
        return pid

    def cut_power(self) -> None:
        """Kill every process of the platform at once: nothing drains."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)


def command_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """All processes below one, children before their own."""
    parents: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, rest = [], list(parents.get(pid, []))
    while rest:
        found.append(rest.pop(0))
        rest += parents.get(found[-1], [])
    return found


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = 20.0) -> Any:
    """Poll until it holds; returns what it returned. Fails naming `what`."""
    deadline = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def can_isolate() -> None:
    require(os.geteuid() == 0, "the platform isolates only as root")


@pytest.fixture
def start(can_isolate: None, data_dir: Path) -> Iterator[Callable[..., Platform]]:
    """Starts platforms in the test's own folder, one after the other; what they leave behind fails the test."""
    made: list[Platform] = []

    def make(*flags: str, **options: Any) -> Platform:
        made.append(Platform(data_dir, *flags, **options))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@contextmanager
def running_platform(**options: Any) -> Iterator[Platform]:
    """A platform in a folder of its own, for fixtures of a wider scope; checks its end as `data_dir` does."""
    folder = Path(tempfile.mkdtemp(prefix="isotherm-e2e-", dir="/tmp"))
    running = Platform(folder, **options)
    yield running
    code = running.stop()
    log = running.text_of_log()
    left = {"mounts": mounts_below(folder), "groups": groups_of(folder), "processes": processes_with(folder)}
    shutil.rmtree(folder, ignore_errors=True)
    assert (code, left) == (0, {"mounts": [], "groups": [], "processes": []}), log


@pytest.fixture(scope="session")
def platform(can_isolate: None) -> Iterator[Platform]:
    """One platform for all tests that do it no harm."""
    with running_platform(environment={"ISOTHERM_HEADER_TIMEOUT_S": "2", "ISOTHERM_BODY_TIMEOUT_S": "2"}) as running:
        yield running
