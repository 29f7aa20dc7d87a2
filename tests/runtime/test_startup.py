"""What the runtime needs to start: the standard library alone, few modules, any supported interpreter."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.conftest import Begin
from tests.runtime.local_instance import SOURCES

SHOW_MODULES = """
import sys
before = set(sys.modules)
from isotherm_runtime import handler, restore, serve
print(*sorted(set(sys.modules) - before))
"""


def modules(python: str = sys.executable) -> set[str]:
    done = subprocess.run(
        [python, "-S", "-c", SHOW_MODULES], capture_output=True, check=True, env={"PYTHONPATH": SOURCES}, timeout=30
    )
    return set(done.stdout.decode().split())


def test_only_the_standard_library_is_imported() -> None:
    tops = {name.partition(".")[0] for name in modules()} - {"isotherm_runtime"}
    assert tops <= set(sys.stdlib_module_names)


def test_what_takes_long_to_import_is_not_imported() -> None:
    heavy = {"asyncio", "dataclasses", "inspect", "logging", "pathlib", "socket", "threading", "traceback", "typing"}
    assert modules() & heavy == set()


def interpreter(version: str) -> str | None:
    """One that works: on the path, or where pyenv puts it."""
    found = [str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for python in filter(None, (shutil.which(f"python{version}"), *found)):
        if subprocess.run([python, "-c", ""], capture_output=True, timeout=30).returncode == 0:
            return python
    return None


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
async def test_it_runs_on(begin: Begin, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"python{version} is not installed here")
    for shape, changes in (("", {}), ("", {"concurrency": 4}), ("async ", {"concurrency": 4})):
        code = f"""
import concurrent.futures, logging, sys, threading
pool = concurrent.futures.ThreadPoolExecutor(1)
{shape}def handler(event, context):
    pool.submit(print, "pooled").result()
    logging.getLogger().error("logged")
    if event:
        raise ValueError("no")
    return sys.version_info[:2]
"""
        client = await begin(code, python=python, runtime=f"python{version}", **changes)
        assert (await client.started())["runtime"] == f"python{version}"
        assert (await client.invoke(0)).value == [int(part) for part in version.split(".")]
        assert (await client.invoke(1)).error["error_type"] == "ValueError"
        assert client.lines_of(1) == ["pooled", "logged"]
