"""What every test may use: `require`, a data folder that must be left clean, guards for the markers."""

import hashlib
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from tests.databases import databases, postgres

__all__ = ["databases", "postgres"]

IN_CI = bool(os.environ.get("CI"))
PLATFORM_S = 600  # for what a test does with real platforms, beside whatever else the machine does

# How long an example takes says something of the machine alone.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Rooms whose code runs on an event loop that must never wait for a disk, a lock or another process.
LOOPS = {"api", "bus", "controllers", "gateway", "host", "pool", "replay"}


def require(condition: object, reason: str) -> None:
    """Skip at home, saying why; fail under CI, where every real part has to be there."""
    if condition:
        return
    if IN_CI:
        pytest.fail(f"CI lacks a real part: {reason}", pytrace=False)
    pytest.skip(reason)


@cache
def package_index_answers() -> bool:
    """Whether pip, as it is configured here, can fetch a small package."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "iniconfig"]
        try:
            return subprocess.run(argv, capture_output=True, timeout=60).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("e2e") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PLATFORM_S))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root"):
        require(os.geteuid() == 0, "needs root")
    if item.get_closest_marker("network"):
        require(package_index_answers(), "needs a package index that pip can reach")


def mounts_below(folder: Path) -> list[str]:
    """Mount points of this mount namespace at or below `folder`."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point == str(folder) or point.startswith(f"{folder}/")]


def groups_of(folder: Path) -> list[str]:
    """Control groups of a platform with its state in `folder` or right below: a warden names its own by that path."""
    places = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    names = {"isotherm-" + hashlib.sha256(os.path.realpath(place).encode()).hexdigest()[:12] for place in places}
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(path) in names]


def processes_with(folder: Path) -> list[str]:
    """Processes with an argument at or below `folder`."""
    return [
        f"{process.pid} {' '.join(process.info['cmdline'])[:100]}"
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or ())
    ]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short-named folder for a platform's state. Fails the test that leaves mounts, groups or processes behind."""
    folder = Path(tempfile.mkdtemp(prefix="isotherm-test-", dir="/tmp"))
    yield folder
    left = {"mounts": mounts_below(folder), "groups": groups_of(folder), "processes": processes_with(folder)}
    shutil.rmtree(folder, ignore_errors=True)
    assert left == {"mounts": [], "groups": [], "processes": []}


@pytest.fixture(autouse=True)
def loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """In async tests of `LOOPS`, a blocking call of ours on the loop raises `BlockingError`."""
    rooms = set(request.path.relative_to(Path(__file__).parent).parts)
    if not rooms & LOOPS or not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    with blockbuster_ctx(scanned_modules="isotherm") as watch:
        for function in watch.functions.values():  # a log line goes to stderr; its traceback looks at source files
            function.can_block_in("structlog/_base.py", "_proxy_to_logger")
        yield
