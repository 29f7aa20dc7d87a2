"""What a handler can do to its own instance, and that the runtime ends or goes on cleanly: never hangs, never lies."""

import asyncio

import pytest

from isotherm_runtime.frames import ErrorKind, FrameError, Kind, split_frames
from isotherm_runtime.stream import EXIT_FORKED
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client, Ended
from tests.runtime.conftest import Begin

FIND_STREAM = """
import os, stat, sys
def stream():
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode) and os.readlink("/proc/self/fd/" + name) == LINK:
                return int(name)
        except OSError:
            pass
LINK = next(os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if int(n) == int(sys.argv[1]))
"""


async def exit_status(client: Client) -> int | None:
    return (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_closing_the_stream_ends_the_instance(begin: Begin, prefix: str, concurrency: int) -> None:
    code = f"{FIND_STREAM}\n{prefix}def handler(event, context):\n    os.close(stream())\n    return 1\n"
    client = await begin(code, concurrency=concurrency)
    with pytest.raises(Ended):
        await client.invoke({})
    assert await exit_status(client) not in (0, None)


async def test_garbage_in_the_stream_is_seen_by_the_host(begin: Begin) -> None:
    garbage = b"\xff" * 64
    with pytest.raises(FrameError):
        split_frames(garbage)
    code = f"{FIND_STREAM}\ndef handler(event, context):\n    os.write(stream(), b'\\xff' * 64)\n    return 1\n"
    client = await begin(code)
    client.request({})
    with pytest.raises(FrameError):
        await asyncio.wait_for(client._reader, TIME_LIMIT_S)


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("prefix", ["", "async "])
async def test_a_forked_child_that_returns_does_not_answer(begin: Begin, prefix: str, concurrency: int) -> None:
    code = f"""
import os, time
children = []
{prefix}def handler(event, context):
    if event == "status":
        return os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])
    pid = os.fork()
    if pid:
        children.append(pid)
    print("who", "parent" if pid else "child")
    return "parent" if pid else "child"
"""
    client = await begin(code, concurrency=concurrency)
    assert (await client.invoke({})).value == "parent"
    assert (await client.invoke("status")).value in (0, EXIT_FORKED)
    assert client.lines_of(1) == ["who parent"]
    assert (await client.invoke({})).value == "parent"


async def test_multiprocessing_works_in_a_handler(begin: Begin) -> None:
    code = """
import multiprocessing
def square(n):
    print("in the child", n)
    return n * n
def handler(event, context):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(4))
"""
    client = await begin(code)
    assert (await client.invoke({})).value == [0, 1, 4, 9]
    assert (await client.invoke({})).value == [0, 1, 4, 9]


@pytest.mark.parametrize(
    "deed",
    [
        "sys.stdout = sys.stderr = None",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = open('/dev/null', 'w'); sys.stdout.close()",
        "os.close(0); os.close(1); os.close(2)",
        "json.dumps = json.loads = None; os.read = os.write = time.sleep = None",
        "sys.setrecursionlimit(60)",
        "sys.modules.clear()",
        "import socket; socket.setdefaulttimeout(0.01)",
        "gc.disable(); sys.settrace(lambda *a: None)",
        "sys.path.clear(); os.environ.clear(); os.chdir('/')",
        "logging.disable(); logging.getLogger().handlers.clear(); logging.shutdown()",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL); warnings.simplefilter('error')",
        "threading.current_thread().name = 'x'; threading.Thread.start = None",
    ],
)
@pytest.mark.parametrize("shape", ["serial", "threads", "async"])
async def test_vandalism_does_not_stop_the_next_call(begin: Begin, deed: str, shape: str) -> None:
    code = f"""
import gc, json, logging, os, signal, sys, threading, time, warnings
{"async " if shape == "async" else ""}def handler(event, context):
    if event:
        {deed}
        return "done"
    return "fine"
"""
    client = await begin(code, concurrency=1 if shape == "serial" else 4)
    assert (await client.invoke(0)).value == "fine"
    assert (await client.invoke(1)).value == "done"
    for _ in range(3):
        assert (await client.invoke(0)).value == "fine"


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_an_exception_between_calls_ends_the_instance_with_a_reason(begin: Begin, concurrency: int) -> None:
    code = """
import signal
def ring(*_):
    raise RuntimeError("the bell")
signal.signal(signal.SIGALRM, ring)
def handler(event, context):
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    return 1
"""
    client = await begin(code, concurrency=concurrency)
    assert (await client.invoke({})).value == 1
    error = (await client.answer(0)).error
    assert (error["kind"], error["error_message"]) == (ErrorKind.INTERNAL, "the bell")
    assert await exit_status(client) == 70


async def test_a_signal_to_itself_ends_the_instance(begin: Begin) -> None:
    client = await begin("import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(Ended):
        await client.invoke({})
    assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).signal == 9


async def test_an_exception_thrown_into_a_runtime_thread_is_an_error_or_the_end(begin: Begin) -> None:
    code = """
import ctypes, sys, threading
def handler(event, context):
    if event:
        for ident in sys._current_frames():
            if ident != threading.get_ident():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(ValueError))
    return "fine"
"""
    client = await begin(code, concurrency=4)
    assert (await client.invoke(1)).value == "fine"  # hits the watch, which goes on
    try:
        for _ in range(20):
            assert (await client.invoke(0)).value == "fine"
            await asyncio.sleep(0.01)
    except Ended:
        assert await exit_status(client) not in (0, None)


async def test_without_threads_calls_wait_for_each_other_and_the_log_says_why(begin: Begin) -> None:
    code = """
import threading, time
start = threading.Thread.start
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
together = threading.Barrier(4)
def handler(event, context):
    time.sleep(0.05)
    if event == "allow":
        threading.Thread.start = start
    if event == "together":
        together.wait(10)
    return event
"""
    client = await begin(code, concurrency=4)
    streams = [client.request(number) for number in range(4)]
    assert [(await client.answer(stream)).value for stream in streams] == list(range(4))
    (notice,) = client.logs
    assert (notice.stream, notice.level) == (0, "WARNING")
    assert "can't start new thread" in notice.text
    await client.invoke("allow")
    streams = [client.request("together") for _ in range(4)]
    assert [(await client.answer(stream)).value for stream in streams] == ["together"] * 4


async def test_megabytes_of_output_neither_block_nor_grow(begin: Begin) -> None:
    code = """
import sys
def handler(event, context):
    for _ in range(50):
        sys.stdout.write("x" * 1_000_000)
        print("y" * 1_000_000, file=sys.stderr)
    return "fine"
"""
    client = await begin(code, log_limit_bytes=64 * 1024)
    before = client.instance.memory_bytes()
    assert (await client.invoke({})).value == "fine"
    assert client.instance.memory_bytes() - before < 32 << 20
    assert sum(len(line.text) for line in client.logs) < 100 * 1024


async def test_output_outside_calls_is_bounded_too(begin: Begin) -> None:
    code = """
import threading
def chatter():
    for n in range(100_000):
        print("background", n)
    done.set()
done = threading.Event()
def handler(event, context):
    if event:
        threading.Timer(0.05, chatter).start()
        return "started"
    return done.wait(15)
"""
    client = await begin(code, log_limit_bytes=4096, concurrency=2)
    await client.invoke(1)
    assert (await client.invoke(0)).value is True
    assert 0 < sum(len(line.text) for line in client.logs) < 3 * 4096
    assert any(line.truncated for line in client.logs)
    assert {line.stream for line in client.logs} == {0}


async def test_a_host_that_reads_late_gets_everything(begin: Begin) -> None:
    code = "def handler(event, context):\n    print(event)\n    return 'x' * 300_000\n"
    client = await begin(code, concurrency=8)
    await client.invoke(0)
    client._reader.cancel()
    await asyncio.gather(client._reader, return_exceptions=True)
    streams = [client.request(number) for number in range(20)]
    await asyncio.sleep(0.3)  # its writes are stuck by now
    client._reader = asyncio.ensure_future(client._read())
    for stream in streams:
        assert len((await client.answer(stream)).value) == 300_000
    assert sorted(line.text for line in client.logs) == sorted(str(number) for number in [0, *range(20)])


async def test_the_end_of_the_stream_ends_an_idle_instance(begin: Begin) -> None:
    for changes in ({}, {"concurrency": 4}, {"concurrency": 4, "dispatch": "serial"}):
        client = await begin("def handler(event, context):\n    return 1\n", **changes)
        await client.invoke({})
        client._reader.cancel()
        client.instance.stream.close()
        assert await exit_status(client) == 0


async def test_a_broken_protocol_ends_the_instance_with_a_reason(begin: Begin) -> None:
    client = await begin("def handler(event, context):\n    return 1\n")
    client.instance.stream.send(b"\xff" * 64)
    error = (await client.answer(0)).error
    assert error["kind"] == ErrorKind.INTERNAL
    assert "protocol" in error["error_message"]
    assert await exit_status(client) == 70


async def test_unknown_frames_are_left_alone(begin: Begin) -> None:
    client = await begin("def handler(event, context):\n    return 1\n", concurrency=2)
    for kind in (Kind.WINDOW, Kind.CHUNK, Kind.CANCEL):
        client.send(kind, 77)
    assert (await client.invoke({})).value == 1
