"""Jobs: programs that run to their end with the machine's network, such as the installer of dependencies."""

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from isotherm.base.errors import Unavailable
from isotherm.sandbox.model import JobSpec
from tests.sandbox.conftest import MB, Bench
from tests.sandbox.footprint import groups_of
from tests.sandbox.warden_process import HOST_ID

pytestmark = pytest.mark.root


def job(bench: Bench, code: str, **changes: object) -> JobSpec:
    values: dict[str, object] = {
        "name": "test",
        "argv": ("python", "-I", "-c", code),
        "env": {},
        "read_only": {},
        "out_dir": str(bench.warden.folder("out")),
        "memory_bytes": 128 * MB,
        "pids": 16,
        "tmp_bytes": 8 * MB,
        "timeout_s": 20.0,
    }
    return JobSpec(**(values | changes))  # type: ignore[arg-type]  # a test's changes are checked by their use


async def test_what_a_job_leaves_belongs_to_the_host(bench: Bench) -> None:
    code = """
import os
os.makedirs("/out/a/b")
open("/out/a/b/c.txt", "w").write("made")
os.symlink("/etc/passwd", "/out/link")
os.chmod("/out/a/b/c.txt", 0o4755)
print(os.getuid(), os.path.exists("/code"))
"""
    pieces: list[str] = []
    result = await bench.driver.run(job(bench, code), pieces.append)
    assert result.exit.status == 0, result.output
    assert result.output == "".join(pieces) == "1000 False\n"
    out = bench.warden.host / "out"
    assert (out / "a/b/c.txt").read_text() == "made"
    owners = {path.lstat().st_uid for path in (out, *out.rglob("*"))}
    assert owners == {HOST_ID}
    assert Path("/etc/passwd").stat().st_uid == 0
    assert not (out / "a/b/c.txt").stat().st_mode & 0o6000
    assert groups_of(bench.warden) == []


async def test_a_job_has_the_machines_network_and_nothing_else_of_it(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"""
import os, socket
print(socket.create_connection(("127.0.0.1", {port})).getpeername()[1])
print(sorted(name for name in os.listdir("/proc") if name.isdigit()), os.path.getsize("/etc/resolv.conf") > 0)
for path in ("/etc/shadow", "/root/.ssh", "/home"):
    print(os.path.exists(path), end=" ")
for path in ("/usr/x", "/x", "/etc/x"):
    try:
        open(path, "w")
    except OSError as exc:
        print(exc.errno, end=" ")
"""
        result = await bench.driver.run(job(bench, code), lambda _: None)
    resolves = os.path.getsize("/etc/resolv.conf") > 0
    assert result.output == f"{port}\n['1'] {resolves}\nFalse False False 30 30 30 "


async def test_a_job_over_its_time_is_killed(bench: Bench) -> None:
    started = time.monotonic()
    result = await bench.driver.run(
        job(bench, "print('on', flush=True)\nimport time\ntime.sleep(60)", timeout_s=2.5), print
    )
    assert (result.timed_out, result.exit.signal, result.output) == (True, 9, "on\n")
    assert time.monotonic() - started < 15


async def test_a_job_over_its_memory_is_killed(bench: Bench) -> None:
    code = "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"
    result = await bench.driver.run(job(bench, code), print)
    assert result.exit.out_of_memory


async def test_the_status_of_a_job_is_told(bench: Bench) -> None:
    result = await bench.driver.run(job(bench, "import sys; sys.exit('broken')"), print)
    assert (result.exit.status, result.output) == (1, "broken\n")


async def test_pip_runs_in_a_job(bench: Bench) -> None:
    import pip

    found = {os.path.dirname(pip.__file__): "/opt/pip/pip"}
    code = "import sys; sys.path.insert(0, '/opt/pip'); import pip; print(pip.__version__)"
    result = await bench.driver.run(job(bench, code, read_only=found), print)
    assert result.output == pip.__version__ + "\n"


async def test_a_job_reads_only_what_it_may(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="neither below"):
        await bench.driver.run(job(bench, "", read_only={str(tmp_path): "/in"}), print)
    with pytest.raises(Unavailable, match="no place"):
        await bench.driver.run(job(bench, "", read_only={str(bench.warden.folder("x")): "/usr/bin"}), print)
    with pytest.raises(Unavailable, match="not below"):
        await bench.driver.run(job(bench, "", out_dir=str(tmp_path)), print)
    (bench.warden.host / "link").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="link"):
        await bench.driver.run(job(bench, "", out_dir=str(bench.warden.host / "link")), print)
    assert tmp_path.stat().st_uid == os.geteuid()


async def test_a_program_that_is_not_there_is_told(bench: Bench) -> None:
    with pytest.raises(Unavailable, match="No such file"):
        await bench.driver.run(job(bench, "", argv=("/usr/bin/nothing-like-it",)), print)


async def test_a_cancelled_job_is_ended(bench: Bench) -> None:
    running = asyncio.ensure_future(bench.driver.run(job(bench, "import time\ntime.sleep(60)"), print))
    while not groups_of(bench.warden):
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    deadline = time.monotonic() + 15
    while groups_of(bench.warden):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
