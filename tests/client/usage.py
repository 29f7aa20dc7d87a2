"""A program that uses the clients, as `test_types` has it checked; it is never run."""

from collections.abc import Sequence
from typing import Any, assert_type

from isotherm.client import AsyncCall, AsyncClient, AsyncStream, Call, Client, Stream, errors
from isotherm.client.model import Answer, CallDetail, Deployed, Function, LogLine, Rollout, Trigger


def blocking() -> None:
    with Client("http://127.0.0.1:7070", "iso_…", namespace="team", timeout_s=5) as client:
        assert_type(client, Client)
        assert_type(client.functions.get("f"), Function)
        assert_type(client.functions.list(), Stream[Function])
        assert_type(client.functions.deploy("folder", env={"A": "1"}), Deployed)
        assert_type(client.functions.invoke("f", {"a": 1}, tail=True), Answer)
        assert_type(client.functions.invoke("f").json(), Any)
        call = client.functions.invoke_async("f")
        assert_type(call, Call)
        assert_type(call.wait(10), CallDetail)
        assert_type(client.functions.triggers("f"), Sequence[Trigger])
        for piece in client.functions.stream("f"):
            assert_type(piece, bytes)
        for line in client.functions.logs("f", follow=True):
            assert_type(line, LogLine)
        with client.rollouts.watch("f", "roll_1") as looks:
            assert_type(next(looks), Rollout)
        client.aliases.set("f", "beta", {1: 0.5, 2: 0.5})
        assert_type(client.with_options(namespace="other"), Client)
    try:
        client.functions.get("f")
    except errors.NotFound as exc:
        assert_type(exc.retry_after_s, float | None)
        assert_type(exc.request_id, str | None)


async def asynchronous() -> None:
    async with AsyncClient() as client:
        assert_type(client, AsyncClient)
        assert_type(await client.functions.get("f"), Function)
        assert_type(client.functions.list(), AsyncStream[Function])
        assert_type(await client.functions.deploy("folder"), Deployed)
        call = await client.functions.invoke_async("f")
        assert_type(call, AsyncCall)
        assert_type(await call.wait(), CallDetail)
        async for piece in client.functions.stream("f"):
            assert_type(piece, bytes)
        async with client.functions.logs("f", follow=True) as lines:
            assert_type(await anext(lines), LogLine)


def mistakes(client: Client) -> None:
    client.functions.get(1)  # type: ignore[arg-type]
    print(client.functions.get("f").nmae)  # type: ignore[attr-defined]
    client.functions.invoke("f", timeout="5")  # type: ignore[call-arg]
    client.functions.lst()  # type: ignore[attr-defined]
    client.queues.purge("f", "all")  # type: ignore[arg-type]
