"""The process driver from its first template to its last: starts, ends, what it leaves."""

import asyncio
import os
import shutil
import signal
import socket
import sysconfig
from pathlib import Path

import pytest

from isotherm.base.errors import ImportFailed, OutOfMemory, TimedOut, Unavailable
from isotherm.sandbox.drivers.process import ProcessDriver, WardenLink
from isotherm_runtime.linux import process_status
from tests.contracts.sandbox.client import Client, Ended
from tests.sandbox.conftest import MB, Bench, until
from tests.sandbox.footprint import descendants, groups_of, take_footprint

pytestmark = pytest.mark.root


async def test_an_instance_is_a_confined_process_of_its_own(bench: Bench) -> None:
    template = await bench.template(
        "import os\ndef handler(e, c): return [os.getpid(), os.getuid(), os.listdir('/code')]"
    )
    one, two = await bench.client(template), await bench.client(template)
    assert (await one.invoke()).value == [1, 1000, ["app.py"]]
    assert (await two.invoke()).value == [1, 1000, ["app.py"]]
    assert one.instance.memory_bytes() > 0
    assert template.memory_bytes() > 0
    assert {"groups", "clone", "confine", "verify", "total"} <= set(one.instance.start_steps_ms)


async def test_nothing_is_left_when_the_template_is_closed(bench: Bench) -> None:
    spec = bench.spec()
    await (await bench.driver.prepare(spec)).close()
    before = take_footprint(bench.warden)
    template = await bench.driver.prepare(spec)
    client = await bench.client(template)
    await client.invoke(1)
    assert take_footprint(bench.warden).processes > before.processes
    await template.close()
    how = await client.instance.exited
    assert (how.signal, how.asked) == (signal.SIGKILL, True)
    assert template.closed.result() == "closed"
    client.instance.stream.close()
    os.close(client.instance.output)
    await until(lambda: take_footprint(bench.warden).processes == before.processes)
    assert take_footprint(bench.warden) == before


async def test_a_kill_takes_what_the_handler_started_with_it(bench: Bench) -> None:
    code = """
    import subprocess
    def handler(e, c):
        return subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True).pid
    """.replace("\n    ", "\n")
    client = await bench.client(await bench.template(code))
    assert (await client.invoke()).value > 1
    before = len(descendants(bench.warden.pid))
    client.instance.kill()
    how = await client.instance.exited
    assert (how.asked, how.out_of_memory) == (True, False)
    await until(lambda: len(descendants(bench.warden.pid)) == before - 2)


async def test_an_exit_status_is_told(bench: Bench) -> None:
    client = await bench.client(await bench.template("import os\ndef handler(e, c): os._exit(7)"))
    client.request()
    how = await asyncio.wait_for(client.instance.exited, 15)
    assert (how.status, how.signal, how.asked) == (7, None, False)


async def test_many_starts_at_once_all_come(bench: Bench) -> None:
    template = await bench.template("import os, uuid\ndef handler(e, c): return uuid.uuid4().hex")
    clients = await asyncio.gather(*(bench.client(template) for _ in range(20)))
    answers = await asyncio.gather(*(client.invoke() for client in clients))
    assert len({answer.value for answer in answers}) == 20


async def test_a_start_that_nobody_waits_for_leaves_nothing(bench: Bench) -> None:
    template = await bench.template()
    starts = [asyncio.ensure_future(template.start()) for _ in range(5)]
    await asyncio.sleep(0)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    await bench.client(template)  # in turn after them
    await until(lambda: len(descendants(bench.warden.pid)) == 3)  # keeper, template, the one that was waited for


async def test_a_dead_template_ends_the_revision(bench: Bench) -> None:
    template = await bench.template()
    client = await bench.client(template)
    keeper = next(pid for pid in descendants(bench.warden.pid) if _is_child(pid, bench.warden.pid))
    parked = next(pid for pid in descendants(keeper) if _is_child(pid, keeper))
    os.kill(parked, signal.SIGKILL)
    assert "ended" in await asyncio.wait_for(template.closed, 15)
    assert (await client.instance.exited).asked is False
    with pytest.raises(Unavailable):
        await template.start()
    assert groups_of(bench.warden) == []


async def test_a_dead_keeper_ends_the_revision(bench: Bench) -> None:
    template = await bench.template()
    client = await bench.client(template)
    warden = bench.warden.pid
    keeper = next(pid for pid in descendants(warden) if _is_child(pid, warden))
    os.kill(keeper, signal.SIGKILL)
    await asyncio.wait_for(template.closed, 15)
    await asyncio.wait_for(client.instance.exited, 15)
    assert descendants(warden) == []
    assert groups_of(bench.warden) == []


async def test_a_dead_warden_is_noticed_at_once_and_a_new_one_serves(bench: Bench) -> None:
    template = await bench.template()
    client = await bench.client(template)
    left = descendants(bench.warden.pid)
    bench.warden.kill()
    assert await asyncio.wait_for(template.closed, 15) == "the warden ended"
    await asyncio.wait_for(client.instance.exited, 15)
    with pytest.raises(Unavailable):
        await template.start()
    await until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in left))
    bench.warden.start()
    bench.link.reconnect(bench.warden.peer())
    again = await bench.client(await bench.template())
    assert (await again.invoke(5)).value == 5
    revisions = {group.rpartition("/isotherm-")[2].split("/")[1] for group in groups_of(bench.warden)}
    assert len(revisions) == 1  # of the dead one nothing is left


async def test_a_new_warden_sweeps_what_a_dead_one_left_and_nothing_else(bench: Bench) -> None:
    await bench.client(await bench.template())
    stale = groups_of(bench.warden)
    base = Path(stale[0].partition("/t")[0])
    foreign = base.with_name(base.name + "-of-another")
    foreign.mkdir()
    try:
        bench.warden.kill()
        bench.warden.start()
        bench.link.reconnect(bench.warden.peer())
        await bench.driver.probe()
        assert stale
        assert not any(os.path.exists(group) for group in stale)
        assert foreign.exists()
    finally:
        foreign.rmdir()


async def test_a_handler_sees_none_of_the_platforms_packages(bench: Bench) -> None:
    code = """
import importlib.util, sys
def handler(event, context):
    names = "isotherm", "msgspec", "httptools", "uvloop"
    return [importlib.util.find_spec(name) is not None for name in names], sys.path
"""
    found, path = await bench.run(code)
    assert found == [False] * 4
    assert path[0] == "/code"


async def test_a_host_that_goes_leaves_nothing(bench: Bench) -> None:
    template = await bench.template()
    await bench.client(template)
    bench.link.close()
    await until(lambda: descendants(bench.warden.pid) == [] and groups_of(bench.warden) == [])
    link = WardenLink(bench.warden.peer())
    fresh = await ProcessDriver(link).prepare(bench.spec())
    async with Client(await fresh.start()) as client:
        assert (await client.invoke(1)).value == 1
    await fresh.close()
    link.close()


async def test_a_peer_that_breaks_the_protocol_is_dropped(bench: Bench) -> None:
    fd = bench.warden.peer()
    with socket.socket(fileno=fd) as peer:
        peer.settimeout(5)
        peer.send(b"no json")
        assert peer.recv(10) == b""


async def test_a_module_that_fails_brings_its_traceback_and_output(bench: Bench) -> None:
    with pytest.raises(ImportFailed) as caught:
        await bench.template("print('before it broke')\nimport nothing_like_it")
    assert caught.value.data["error_type"] == "Runtime.ImportModuleError"
    assert "before it broke" in caught.value.data["output"]
    assert any("/code/app.py" in line for line in caught.value.data["stack_trace"])
    assert groups_of(bench.warden) == []


async def test_an_import_that_ends_the_process(bench: Bench) -> None:
    with pytest.raises(ImportFailed, match="exit status 3"):
        await bench.template("import os\nos._exit(3)")


async def test_an_import_that_takes_too_long(bench: Bench) -> None:
    with pytest.raises(TimedOut):
        await bench.template("import time\ntime.sleep(60)", init_timeout_s=0.3)
    assert groups_of(bench.warden) == []


async def test_an_import_that_takes_too_much_memory(bench: Bench) -> None:
    with pytest.raises(OutOfMemory, match="64 MB"):
        await bench.template(
            "x = bytearray(200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1", memory_bytes=64 * MB
        )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import socket\nkept = socket.socket()", "an open socket"),
        ("import asyncio\nloop = asyncio.new_event_loop()", "an asyncio event loop"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), name='poller').start()",
            "1 thread: poller",
        ),
        ("import mmap\nshared = mmap.mmap(-1, 4096)\nshared[0] = 1", "shared memory"),
        ("kept = open('/code/app.py')", "an open file: /code/app.py"),
        ("import subprocess\nchild = subprocess.Popen(['/bin/sleep', '99'])", "a child process"),
        ("import os\nends = os.pipe()", "an open pipe"),
    ],
)
async def test_what_cannot_be_forked_is_named_and_imported_in_each_instance(
    bench: Bench, code: str, reason: str
) -> None:
    template = await bench.template(f"{code}\nimport os\nborn = os.getpid()\ndef handler(e, c): return born")
    assert any(found.startswith(reason) for found in template.info.unfit), template.info.unfit
    client = await bench.client(template)
    assert (await client.invoke()).value == 1  # it was imported in the instance, where it is pid 1


async def test_without_a_template_each_instance_imports_for_itself(bench: Bench) -> None:
    code = "import os\nborn = os.getpid()\ndef handler(e, c): return born"
    assert await bench.run(code, template=False) == 1
    assert await bench.run(code, template=True) > 1


async def test_an_import_that_fails_in_the_instance_fails_the_start(bench: Bench) -> None:
    template = await bench.template("print('hm')\nraise KeyError('missing')", template=False)
    with pytest.raises(ImportFailed, match="KeyError"):
        await template.start()
    template = await bench.template(
        "x = bytearray(200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1", template=False
    )
    with pytest.raises(OutOfMemory):
        await template.start()
    template = await bench.template("import time\ntime.sleep(60)", template=False, init_timeout_s=2.5)
    with pytest.raises(TimedOut):
        await template.start()


async def test_what_a_handler_may_need_works(bench: Bench) -> None:
    code = """
import asyncio, concurrent.futures, datetime, multiprocessing, os, socket, sqlite3, ssl
import subprocess, sys, tempfile, threading, time, zoneinfo
def handler(event, context):
    found = {}
    with sqlite3.connect("/tmp/x.db") as db:
        found["sqlite"] = db.execute("select 1 + 1").fetchone()[0]
    found["ssl"] = len(ssl.create_default_context().get_ca_certs()) > 0 or ssl.get_default_verify_paths().capath
    found["subprocess"] = subprocess.run(["/bin/sh", "-c", "echo $((40 + 2))"], capture_output=True, text=True).stdout
    found["python"] = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found["threads"] = sum(pool.map(lambda n: n * n, range(10)))
    found["asyncio"] = asyncio.run(asyncio.sleep(0, "slept"))
    with multiprocessing.Lock():
        found["lock"] = True
    with tempfile.NamedTemporaryFile() as file:
        found["tmp"] = file.name.startswith("/tmp/")
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    found["loopback"] = server.accept()[1][0]
    found["zone"] = datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Vienna")).utcoffset().seconds
    found["locale"] = sys.getfilesystemencoding()
    os.mkfifo("/tmp/fifo")
    open("/dev/stdout", "w").write("through the device")
    found["exit"] = callable(exit)
    found["hostname"] = socket.gethostname()
    return found
"""
    found = await bench.run(code, memory_bytes=256 * MB)
    assert found["ssl"]
    del found["ssl"]
    assert found == {
        "sqlite": 2,
        "subprocess": "42\n",
        "python": "1\n",
        "threads": 285,
        "asyncio": "slept",
        "lock": True,
        "tmp": True,
        "loopback": "127.0.0.1",
        "zone": 3600,
        "locale": "utf-8",
        "exit": True,
        "hostname": "sandbox",
    }


async def test_blas_threads_are_set_before_the_import(bench: Bench) -> None:
    names = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
    code = f"import os\nthen = [os.environ[name] for name in {names}]\ndef handler(e, c): return then"
    assert await bench.run(code) == ["1", "1"]
    assert await bench.run(code, threads=4) == ["4", "4"]


async def test_a_matrix_product_does_not_hang_in_a_fork_whose_template_had_blas_threads(bench: Bench) -> None:
    site = Path(sysconfig.get_paths()["purelib"])
    deps = bench.warden.folder("deps")
    for name in ("numpy", "numpy.libs"):
        if (site / name).exists():
            shutil.copytree(site / name, deps / name, ignore=shutil.ignore_patterns("tests"))
    code = """
import numpy, os
first = float((numpy.ones((400, 400)) @ numpy.ones((400, 400)))[0, 0])
def handler(event, context):
    return [first, float((numpy.ones((400, 400)) @ numpy.ones((400, 400)))[0, 0]), len(os.listdir("/proc/self/task"))]
"""
    template = await bench.template(code, deps_dir=str(deps), threads=3, cpus=2.0, memory_bytes=512 * MB)
    assert template.info.unfit == ()
    before, after, _ = (await (await bench.client(template)).invoke()).value
    assert (before, after) == (400.0, 400.0)


async def test_output_of_the_handlers_children_comes_through_the_pipe(bench: Bench) -> None:
    client = await bench.client(await bench.template("import os\ndef handler(e, c): os.system('echo from a shell')"))
    await client.invoke()
    assert os.read(client.instance.output, 100) == b"from a shell\n"


async def test_the_probe_finds_all_that_is_needed_here(bench: Bench) -> None:
    found = await bench.driver.probe()
    assert found.isolated, found.missing
    assert {"root", "seccomp", "user namespaces", "memory control group", "pids control group"} <= {
        check.name for check in found.checks
    }


async def test_a_host_path_outside_its_folder_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(e, c): pass")
    with pytest.raises(Unavailable, match="not below"):
        await bench.template(code_dir=str(tmp_path))
    (bench.warden.host / "way-out").symlink_to(tmp_path)
    with pytest.raises(Unavailable, match="way-out"):
        await bench.template(code_dir=str(bench.warden.host / "way-out"))


async def test_an_unknown_runtime_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(Unavailable, match=r"python3\.99 is not on this host"):
        await bench.template(runtime="python3.99")


async def test_the_warden_has_no_network(bench: Bench) -> None:
    pid = bench.warden.pid
    await bench.driver.probe()
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")


async def test_the_keeper_holds_only_the_capabilities_that_it_needs(bench: Bench) -> None:
    template = await bench.template()
    await bench.client(template)
    warden = bench.warden.pid
    keeper = next(pid for pid in descendants(warden) if _is_child(pid, warden))
    status = process_status(keeper)
    needed = sum(1 << number for number in (1, 5, 6, 7, 18, 19, 21))
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {needed}
    assert status["NoNewPrivs"] == "1"


async def test_an_instance_that_ends_closes_its_stream(bench: Bench) -> None:
    client = await bench.client(
        await bench.template("import os\ndef handler(e, c): os.kill(os.getpid(), 9) or os._exit(1)")
    )
    stream = client.request()
    with pytest.raises(Ended):
        await client.answer(stream)


def _is_child(pid: int, parent: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1] == str(parent)


async def test_a_stopped_warden_leaves_nothing(bench: Bench) -> None:
    await bench.client(await bench.template())
    bases = {group.rpartition("/t")[0].partition("/t")[0] for group in groups_of(bench.warden)}
    running = descendants(bench.warden.pid)
    assert running
    assert bench.warden.stop() == 0
    assert not any(os.path.exists(f"/proc/{pid}/exe") for pid in running)
    assert not any(os.path.exists(base) for base in bases)
