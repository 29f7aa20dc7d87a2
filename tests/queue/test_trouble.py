"""A full disk, a read-only folder, a queue that cannot be opened, a clock that is set back: nothing is lost."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Unavailable
from isotherm.queue.drivers.sqlite import SqliteQueue
from isotherm.queue.model import queue_limits
from isotherm.queue.service import Queue
from isotherm.storage.vault import Vault
from isotherm.wire.desired import AsyncSpec
from tests.queue.conftest import Bench, until
from tests.queue.stores import Stores

DISK_KB = 512


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
async def small(disk: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose queue is on the small disk, and its functions elsewhere."""
    found = Bench(disk, Stores(None), max_body_mb=0.1)
    found.bench.folder = tmp_path / "functions"
    await found.start()
    yield found
    await found.stop()


@pytest.mark.root
async def test_a_full_disk_refuses_calls_and_goes_on_once_there_is_room(small: Bench, disk: Path) -> None:
    small.function("echo")
    first = await small.accepted("echo", 1)
    await small.until(first, "succeeded")
    filler = disk / "filler"
    fill(filler)
    refused = [(await small.event("echo", "x" * 20_000)).status for _ in range(5)]
    assert 503 in refused
    filler.unlink()
    again = await small.accepted("echo", 2)
    assert await small.result(again) == 2
    assert await small.result(first) == 1


@pytest.mark.root
async def test_what_ended_while_the_disk_was_full_is_written_once_there_is_room(
    small: Bench, disk: Path, tmp_path: Path
) -> None:
    """Its result is held in memory meanwhile, and nothing new is begun."""
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    code = f"""
import os, time
def handler(event, context):
    open({str(runs)!r}, "a").write("x")
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    return "y" * 100_000
"""
    small.function("big", code, asynchronous=AsyncSpec(retries=0))
    call_id = await small.accepted("big")
    await until(lambda: _is(runs.exists()), lambda: "the call to run")
    filler = disk / "filler"
    fill(filler)
    gate.touch()
    await until(lambda: _is(not small.queue.running), lambda: "the call to end")
    await until(lambda: _is(small.queue._unwritten), lambda: "the write to fail")
    assert (await small.event("big")).status == 503
    filler.unlink()
    assert len(await small.result(call_id)) == 100_000
    assert runs.read_text() == "x"


def fill(path: Path) -> None:
    """Until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def _is(value: object) -> object:
    return value


async def test_a_database_that_becomes_read_only_refuses_calls_until_it_is_writable(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Stores(None))
    await bench.start()
    bench.function("echo")
    bench.store._write.execute("PRAGMA query_only = ON")
    refused = await bench.event("echo", 2)
    assert (refused.status, refused.json()["code"]) == (503, "unavailable")
    bench.store._write.execute("PRAGMA query_only = OFF")
    assert await bench.result(await bench.accepted("echo", 3)) == 3
    await bench.stop()


async def test_a_queue_that_cannot_be_opened_says_so_and_opens_later(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    store = SqliteQueue(folder / "queue.db", Vault(bytes(32)))
    bench = Bench(tmp_path, Stores(None))
    queue = Queue(store, bench.routes, queue_limits(bench.settings), ManualClock(), "local")
    with pytest.raises(Unavailable, match=r"queue\.db"):
        await queue.start()
    with pytest.raises(Unavailable, match="takes no asynchronous calls"):
        queue.check_room()
    folder.mkdir()
    await queue.start()
    queue.check_room()
    await queue.close()
    await bench.bench.close()


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    store = SqliteQueue(tmp_path / "queue.db", Vault(bytes(32)))
    store.open()
    store._write.execute("PRAGMA user_version = 99")
    store.close()
    before = (tmp_path / "queue.db").read_bytes()
    with pytest.raises(Unavailable, match="newer version"):
        SqliteQueue(tmp_path / "queue.db", Vault(bytes(32))).open()
    assert (tmp_path / "queue.db").read_bytes() == before


async def test_a_clock_that_is_set_back_delays_no_retry(tmp_path: Path) -> None:
    clock = ManualClock()
    bench = Bench(tmp_path, Stores(None))
    bench.queue = Queue(bench.store, bench.routes, queue_limits(bench.settings), clock, "local")
    bench.queue.clock = clock
    await bench.queue.start()
    now_ms = bench.queue.clock.time_ms()
    clock._start_ms -= 3_600_000
    assert bench.queue.clock.time_ms() >= now_ms
    clock.advance(5)
    assert bench.queue.clock.time_ms() == now_ms + 5000
    await bench.queue.close()
    await bench.bench.close()
