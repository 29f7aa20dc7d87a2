"""One harness per driver: how a test makes it, and how it provokes what a test cannot do the same way everywhere."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from isotherm.sandbox.drivers.fake import FakeDriver, FakeInstance
from isotherm.sandbox.model import SandboxLimits, SandboxSpec
from isotherm.sandbox.port import Driver
from tests.contracts.sandbox.client import Client

# What a handler's code may begin with. `opened(name)`: the test has called `open_gate(folder, name)`, or is over.
GATES = """
import os
def opened(name):
    return os.path.exists(f"{os.path.dirname(__file__)}/gate-{name}") or not os.path.exists(__file__)
"""


def open_gate(folder: Path, name: object) -> None:
    """`folder` is that of `make_spec`; a driver may have put a copy of the code below it."""
    for module in folder.rglob("app.py"):
        (module.parent / f"gate-{name}").touch()


class Harness(Protocol):
    driver: Driver
    owns_descriptors: bool  # output through raw descriptors comes through the pipe

    def deps_with_numpy(self) -> str | None:
        """A folder to give as `deps_dir` so that numpy can be imported; None where it can be without."""

    async def exhaust_memory(self, client: Client) -> None:
        """Make the instance go over its limit, from within where that is possible."""


class FakeHarness:
    owns_descriptors = False

    def __init__(self) -> None:
        self.driver = FakeDriver()

    def deps_with_numpy(self) -> str | None:
        return None

    async def exhaust_memory(self, client: Client) -> None:
        assert isinstance(client.instance, FakeInstance)
        client.instance.run_out_of_memory()


class RealHarness:
    """Any driver whose instances are processes."""

    owns_descriptors = True

    def __init__(self, driver: Driver, folder: Path) -> None:
        self.driver = driver
        self._folder = folder

    def deps_with_numpy(self) -> str | None:
        target = self._folder / "numpy-only"
        for source in Path(sysconfig.get_paths()["platlib"]).glob("numpy*"):
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
        return str(target)

    async def exhaust_memory(self, client: Client) -> None:
        client.request({"do": "eat_memory"})


def missing(name: str) -> str | None:
    """Why this driver cannot be tested here."""
    if name == "process":
        if os.geteuid() != 0:
            return "the process driver needs root"
        if importlib.util.find_spec("isotherm.sandbox.drivers.process") is None:
            return "the process driver is not in this build"
    return None


@asynccontextmanager
async def open_harness(name: str, folder: Path) -> AsyncIterator[Harness]:
    if name == "fake":
        fake = FakeHarness()
        yield fake
        await fake.driver.close()
    else:
        from tests.sandbox.warden_process import open_driver  # the process driver's own way to start a warden

        async with open_driver(folder) as driver:
            yield RealHarness(driver, folder)


def make_spec(folder: Path, code: str, **changes: object) -> SandboxSpec:
    """A spec for a function whose module `app` is `code`."""
    code_dir = folder / "code"
    code_dir.mkdir(parents=True, exist_ok=True)
    (code_dir / "app.py").write_text(code)
    values: dict[str, object] = {
        "revision_id": "rev_contract",
        "runtime": "python3.11",
        "handler": "app.handler",
        "code_dir": str(code_dir),
        "deps_dir": None,
        "env": {"GREETING": "hello"},
        "limits": SandboxLimits(
            memory_bytes=128 << 20,
            cpus=1.0,
            pids=64,
            tmp_bytes=16 << 20,
            revision_memory_bytes=2 << 30,
            revision_pids=4096,
        ),
        "timeout_s": 10.0,
        "init_timeout_s": 20.0,
        "concurrency": 1,
        "dispatch": "threads",
        "template": True,
        "threads": 1,
        "log_limit_bytes": 4096,
        "function_name": "contract",
        "function_version": "7",
        "function_arn": "arn:aws:lambda:local:default:function:contract",
        "memory_mb": 128,
        "region": "local",
    }
    return SandboxSpec(**(values | changes))  # type: ignore[arg-type]  # a test's changes are checked by their use
