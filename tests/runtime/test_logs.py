"""What becomes a LOG frame, piece by piece."""

import contextlib
import json
import socket
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime import logs
from isotherm_runtime.frames import Flag, split_frames
from isotherm_runtime.stream import Stream
from tests.runtime.conftest import Begin


@contextlib.contextmanager
def opened(limit_bytes: int = 1000) -> Iterator[tuple[logs.Output, Stream]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(theirs.fileno())
        yield logs.Output(stream, limit_bytes, coalesce=True), stream


def lines(stream: Stream) -> list[str]:
    """What is queued, the notices of truncation left out."""
    frames = split_frames(b"".join(stream.queue))[0]
    return [frame[5].decode() for frame in frames if not frame[1] & Flag.TRUNCATED]


@given(st.lists(st.text("ab\n", max_size=8), max_size=8))
def test_lines_are_the_same_however_the_text_is_written(pieces: list[str]) -> None:
    with opened() as (output, stream):
        log = logs.CallLog(output, 1)
        for piece in pieces:
            log.write("stdout", piece)
        log.close()
        text = "".join(pieces)
        expected = text.split("\n")
        if not expected[-1]:
            expected.pop()
        assert lines(stream) == expected


@given(st.lists(st.text(max_size=300), max_size=20), st.integers(1, 400))
def test_no_call_writes_more_than_its_limit_and_a_notice(pieces: list[str], limit: int) -> None:
    with opened(limit) as (output, stream):
        log = logs.CallLog(output, 1)
        for piece in pieces:
            log.write("stdout", piece + "\n")
        log.close()
        frames = split_frames(b"".join(stream.queue))[0]
        assert sum(len(frame[5]) for frame in frames if not frame[1]) <= limit
        assert sum(frame[1] == Flag.TRUNCATED for frame in frames) <= 1


def test_stdout_and_stderr_do_not_share_an_unfinished_line() -> None:
    with opened() as (output, stream):
        log = logs.CallLog(output, 1)
        log.write("stdout", "out ")
        log.write("stderr", "err ")
        log.write("stdout", "1\n")
        log.write("stderr", "2\n")
        assert lines(stream) == ["out 1", "err 2"]


def test_a_line_over_the_bound_becomes_several() -> None:
    with opened(1 << 20) as (output, stream):
        log = logs.CallLog(output, 1)
        log.write("stdout", "x" * (3 * logs.MAX_LINE_BYTES) + "\nend\n")
        assert [len(line) for line in lines(stream)] == [logs.MAX_LINE_BYTES] * 3 + [3]


def test_the_instances_own_limit_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(100) as (output, stream):
        log = logs.InstanceLog(output)
        log.write("stdout", "x" * 500 + "\n")
        log.write("stdout", "lost\n")
        monkeypatch.setattr(log, "window_end", 0.0)
        log.write("stdout", "again\n")
        assert [len(line) for line in lines(stream)] == [100, 5]


def test_install_and_uninstall_leave_things_as_they_were() -> None:
    before = (sys.stdout, sys.stderr)
    logs.install(owns_process=False)
    logs.install(owns_process=False)
    assert sys.stdout is not before[0]
    assert sys.stdout.fileno() == before[0].fileno() if hasattr(before[0], "fileno") else True
    logs.uninstall()
    assert (sys.stdout, sys.stderr) == before


async def test_every_way_to_print_is_seen(begin: Begin) -> None:
    client = await begin("""
import concurrent.futures, logging, sys, threading, traceback, warnings
log = logging.getLogger(__name__)
log.setLevel("DEBUG")
pool = concurrent.futures.ThreadPoolExecutor(2)
def handler(event, context):
    print("print")
    sys.stdout.write("write\\n")
    sys.stdout.writelines(["lines\\n"])
    sys.stdout.buffer.write("bytes ä\\n".encode())
    print("flushed", flush=True)
    log.debug("debug")
    log.error("two\\nlines")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("caught")
    warnings.warn("warned")
    pool.submit(print, "pool").result()
    thread = threading.Thread(target=lambda: pool.submit(print, "pool of a thread").result())
    thread.start(); thread.join()
    context.log("by context")
    print("no end", end="")
""")
    await client.invoke({})
    texts = client.lines_of(1)
    assert texts[:5] == ["print", "write", "lines", "bytes ä", "flushed"]
    assert ("two\nlines", "ERROR") in [(line.text, line.level) for line in client.logs]
    assert ("debug", "DEBUG") in [(line.text, line.level) for line in client.logs]
    assert any(text.startswith("caught\nTraceback") for text in texts)
    assert any("UserWarning: warned" in text for text in texts)
    assert texts[-4:] == ["pool", "pool of a thread", "by context", "no end"]
    assert {line.stream for line in client.logs} == {1}


async def test_records_carry_the_time_and_the_error_of_a_call_is_logged(begin: Begin) -> None:
    client = await begin("def handler(event, context):\n    raise ValueError('why')\n")
    stream = client.request(None)
    answer = await client.answer(stream)
    assert json.loads(answer.head)["error_type"] == "ValueError"
    (line,) = client.logs
    assert (line.stream, line.level) == (stream, "ERROR")
    assert line.text.startswith("Traceback (most recent call last):")
    assert line.text.endswith("ValueError: why")
    assert "isotherm_runtime" not in line.text
