"""Without root: nothing can be isolated, the probe says so, a deploy is refused unless the operator wants it."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from isotherm.base.errors import NotIsolated
from isotherm.sandbox.drivers.process import ProcessDriver
from tests.sandbox.conftest import Bench
from tests.sandbox.footprint import descendants
from tests.sandbox.test_process_jobs import job
from tests.sandbox.warden_process import HOST_ID, WardenProcess

pytestmark = pytest.mark.root  # to become somebody else


@pytest.fixture
def warden() -> Iterator[WardenProcess]:
    process = WardenProcess()
    process.start_unprivileged()
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def willing(bench: Bench) -> Bench:
    bench.driver = ProcessDriver(bench.link, allow_unisolated=True)
    return bench


async def test_it_is_refused_and_the_reason_given(bench: Bench) -> None:
    found = await bench.driver.probe()
    assert not found.isolated
    assert any("root" in missing for missing in found.missing)
    with pytest.raises(NotIsolated, match="--allow-unisolated"):
        await bench.template()
    with pytest.raises(NotIsolated):
        await bench.driver.run(job(bench, ""), print)


async def test_it_runs_where_the_operator_wants_it(willing: Bench) -> None:
    template = await willing.template("import os, sys\ndef handler(e, c): return [e, os.getuid()]")
    one, two = await willing.client(template), await willing.client(template)
    assert (await one.invoke("x")).value == ["x", HOST_ID]
    assert (await two.invoke("y")).value == ["y", HOST_ID]
    one.instance.kill()
    assert (await asyncio.wait_for(one.instance.exited, 15)).asked
    assert (await two.invoke("z")).value == ["z", HOST_ID]


async def test_what_needs_no_privilege_holds(willing: Bench) -> None:
    code = """
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
def handler(event, context):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    refused = libc.unshare(0x10000000), ctypes.get_errno()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [status["NoNewPrivs"].strip(), status["Seccomp"].strip(), refused, files]
"""
    assert await willing.run(code) == ["1", "2", [-1, 1], [1024, 1024]]


async def test_a_module_that_cannot_be_forked_still_runs(willing: Bench) -> None:
    template = await willing.template("import socket\nkept = socket.socket()\ndef handler(e, c): return 'served'")
    assert template.info.unfit == ("an open socket",)
    assert (await (await willing.client(template)).invoke()).value == "served"


async def test_nothing_is_left(willing: Bench) -> None:
    code = "import subprocess\ndef handler(e, c): subprocess.Popen(['/bin/sleep', '1000'])"
    template = await willing.template(code)
    client = await willing.client(template)
    await client.invoke()
    assert len(descendants(willing.warden.pid)) >= 4
    await template.close()
    await asyncio.wait_for(client.instance.exited, 15)
    deadline = time.monotonic() + 15
    while descendants(willing.warden.pid):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_jobs_run_with_the_machines_own_paths(willing: Bench) -> None:
    import pip

    code = "import pip, sys; open(sys.argv[1], 'w').write(pip.__version__); print('done')"
    given = job(
        willing,
        "",
        argv=("python", "-c", code, "/out/version"),
        env={"PYTHONPATH": "/opt"},
        read_only={os.path.dirname(pip.__file__): "/opt/pip"},
    )
    result = await willing.driver.run(given, print)
    assert (result.exit.status, result.output) == (0, "done\n")
    assert (willing.warden.host / "out/version").read_text() == pip.__version__
