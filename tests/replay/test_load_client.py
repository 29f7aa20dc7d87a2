"""The open-loop client: every request has exactly one answer, whatever the other side does."""

import asyncio
from time import perf_counter

import pytest

from isotherm.replay import client as client_module
from isotherm.replay.client import Answer, LoadClient
from isotherm.replay.model import Way
from isotherm.replay.ways import request, request_head
from tests.replay.scripted import Reply, Scripted, problem


def invoke(host: str) -> bytes:
    return request(request_head(Way.INVOKE, host, "iso_key", "echo"), Way.INVOKE, 0.0, 0.0)


async def send(platform: Scripted, count: int, *, max_connections: int = 8, timeout_s: float = 5.0) -> list[Answer]:
    server = await platform.serve()
    host, port = platform.url.removeprefix("http://").split(":")
    answers: list[Answer] = []
    client = LoadClient(host, int(port), answers.append, max_connections=max_connections, timeout_s=timeout_s)
    try:
        await client.open(2)
        for token in range(count):
            client.submit(token, perf_counter(), invoke(host))
        drained = await client.drain(timeout_s + 2)
        assert drained
        assert client.pending == 0
    finally:
        await client.close()
        server.close()
    return sorted(answers, key=lambda answer: answer.token)


async def test_every_request_is_answered_over_few_connections() -> None:
    platform = Scripted()
    answers = await send(platform, 200, max_connections=5)

    assert [answer.token for answer in answers] == list(range(200))
    assert {answer.status for answer in answers} == {200}
    assert platform.connections <= 5
    assert b"start;dur=3.5" in answers[0].timing
    assert all(answer.done_at >= answer.sent_at >= answer.due_at for answer in answers)


async def test_an_error_answer_is_an_answer() -> None:
    def refuse(number: int) -> Reply | None:
        return problem(429, "too_many_requests", "the queue is full") if number == 3 else None

    answers = await send(Scripted(fail_invoke=refuse), 5)
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 429]


async def test_a_connection_that_is_closed_fails_its_request_alone() -> None:
    answers = await send(Scripted(fail_invoke=lambda number: (0, {}, b"") if number == 2 else None), 6)

    failed = [answer for answer in answers if answer.status == 0]
    assert len(failed) == 1
    assert "closed before the answer was whole" in (failed[0].error or "")


async def test_no_answer_in_time_is_an_error() -> None:
    answers = await send(
        Scripted(fail_invoke=lambda number: (0, {}, b"mute") if number == 1 else None), 3, timeout_s=0.3
    )

    assert [answer.status for answer in answers].count(0) == 1
    assert any("no answer within 0.3 s" in (answer.error or "") for answer in answers)


async def test_the_backlog_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BACKLOG", 3)
    answers = await send(Scripted(), 20, max_connections=2)

    refused = [answer for answer in answers if answer.status == 0]
    assert len(refused) == 15  # two connections are busy, three wait
    assert all("more than 3 requests wait" in (answer.error or "") for answer in refused)


async def test_nobody_there_is_said_at_once() -> None:
    client = LoadClient("127.0.0.1", 1, lambda answer: None)
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.wait_for(client.open(1), 5)
    await client.close()


async def test_what_is_still_pending_fails_when_the_client_is_closed() -> None:
    platform = Scripted(fail_invoke=lambda number: (0, {}, b"mute"))
    server = await platform.serve()
    host, port = platform.url.removeprefix("http://").split(":")
    answers: list[Answer] = []
    client = LoadClient(host, int(port), answers.append, max_connections=1)
    await client.open(1)
    for token in range(3):
        client.submit(token, perf_counter(), invoke(host))
    await client.close()
    server.close()

    assert sorted(answer.token for answer in answers) == [0, 1, 2]
    assert {answer.error for answer in answers} == {"the client was closed"}


async def test_waiting_for_a_connection_has_a_limit_of_its_own() -> None:
    platform = Scripted(fail_invoke=lambda number: (0, {}, b"mute"))
    server = await platform.serve()
    host, port = platform.url.removeprefix("http://").split(":")
    answers: list[Answer] = []
    client = LoadClient(host, int(port), answers.append, max_connections=1, timeout_s=30.0, backlog_s=0.2)
    await client.open(1)
    for token in range(2):
        client.submit(token, perf_counter(), invoke(host))
    async with asyncio.timeout(5):
        while not answers:
            await asyncio.sleep(0.01)
    await client.close()
    server.close()

    assert (answers[0].token, answers[0].error) == (1, "no connection was free within 0.2 s")
