"""Both Python clients against a real platform: one suite for the two of them, and what belongs to one alone."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from isotherm.client import AsyncClient, Client, deploying, errors
from isotherm.client.archive import zip_folder
from isotherm.client.model import Progress
from tests.client.both import KINDS, Waited
from tests.e2e.conftest import Platform, running_platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
CODE = """
import time
made = []
def handler(event, context):
    if event == "made":
        return len(made)
    if isinstance(event, dict) and "fail" in event:
        print("about to fail")
        raise ValueError(event["fail"])
    if isinstance(event, dict) and "sleep" in event:
        time.sleep(event["sleep"])
    if event == "flood":
        return flood()
    if event == "ticks":
        return ticks()
    return {"got": event}
def flood():
    del made[:]
    for _ in range(500):
        made.append(1)
        yield b"x" * 1_000_000
def ticks():
    del made[:]
    try:
        for number in range(1000):
            yield f"tick {number}\\n"
            time.sleep(0.02)
    except GeneratorExit:
        made.append("closed")
        raise
"""
ONE = {"max_instances": 1, "spare": 0}


@pytest.fixture(scope="module")
def steady(can_isolate: None) -> Iterator[Platform]:
    """A platform of this file's own: some tests take parts of it away for a moment."""
    with running_platform() as running:
        running.function("echo", CODE, warm=ONE, timeout_s=20, asynchronous={"retries": 0})
        yield running


def options(platform: Platform) -> dict[str, Any]:
    return {"url": platform.ready["url"], "key": platform.ready["admin_key"]}


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, steady: Platform) -> Iterator[Any]:
    if request.param == "blocking":
        with Client(**options(steady)) as made:
            yield made
    else:
        waited = Waited(lambda: AsyncClient(**options(steady)))
        yield waited
        waited.close()


def code_of(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "isotherm.toml").write_text(f'name = "{name}"\nmemory_mb = 64\n')
    (folder / "app.py").write_text(text)
    return folder


def test_a_function_from_its_deploy_to_its_end(client: Any, tmp_path: Path) -> None:
    folder = code_of(tmp_path / "f", "life", "def handler(event, context):\n    return 1\n")
    told: list[Progress] = []
    first = client.functions.deploy(folder, env={"MODE": "a"}, on_progress=told.append)
    assert (first.number, first.unchanged, first.moved) == (1, False, False)
    assert [each.step for each in told][:3] == ["upload", "package", "revision"]
    assert len(told) > 3
    assert client.functions.deploy(folder, env={"MODE": "a"}).unchanged
    code_of(folder, "life", "def handler(event, context):\n    return 2\n")
    assert client.functions.deploy(folder).moved
    assert client.functions.invoke("life").json() == 2
    assert [each.number for each in client.revisions.list("life")] == [2, 1]
    assert client.revisions.get("life", 1).config["env"] == {"MODE": "a"}
    assert [line.done for line in client.revisions.progress("life", 2)][-1]
    assert client.aliases.set("life", "both", {1: 0.5, 2: 0.5}).weights[0].weight == 0.5
    assert client.aliases.set("life", "old", 1).name == "old"
    assert client.functions.invoke("life", qualifier="old").json() == 1
    assert [each.name for each in client.aliases.list("life")] == ["both", "live", "old"]
    rollout = client.rollouts.start("life", 1, plan={"strategy": "all-at-once", "gate": False})
    assert list(client.rollouts.watch("life", rollout.id))[-1].state == "finished"
    assert client.functions.rollback("life", 2).weights[0].number == 2
    assert client.functions.triggers("life")[0].kind == "url"
    client.aliases.delete("life", "both")
    found = client.functions.get("life")
    assert (found.live[0].number, found.url) == (2, first.url)
    assert "life" in {each.name for each in client.functions.list()}
    with pytest.raises(errors.PreconditionFailed):
        client.functions.delete("life", etag='"stale"')
    client.functions.delete("life")
    with pytest.raises(errors.NotFound) as caught:
        client.functions.get("life")
    assert caught.value.request_id


def test_a_deploy_that_fails_says_why(client: Any, tmp_path: Path) -> None:
    with pytest.raises(errors.ImportFailed, match="boom"):
        client.functions.deploy(code_of(tmp_path / "f", "broken", "raise RuntimeError('boom')\n"))
    with pytest.raises(errors.InvalidManifest):
        client.functions.deploy(tmp_path)


def test_calls_answer_or_raise(client: Any) -> None:
    answer = client.functions.invoke("echo", {"a": "ü"}, tail=True)
    assert (answer.json(), answer.version) == ({"got": {"a": "ü"}}, "1")
    assert "REPORT RequestId" in (answer.log or "")
    with pytest.raises(errors.HandlerFailed, match="ValueError: so") as caught:
        client.functions.invoke("echo", {"fail": "so"})
    assert caught.value.data["stack_trace"]
    assert client.functions.invoke("echo", dry_run=True).status == 204
    with pytest.raises(errors.NotFound):
        client.functions.invoke("nobody")
    with pytest.raises(errors.TimedOut, match=r"within 0.3 s"):
        client.functions.invoke("echo", {"sleep": 2}, timeout_s=0.3)


def test_a_call_without_waiting_is_found_by_its_id(client: Any) -> None:
    call = client.functions.invoke_async("echo", 5)
    assert call.wait(30).result == {"got": 5}
    assert client.calls.get(call.id).event == 5
    with pytest.raises(errors.HandlerFailed, match="ValueError: no"):
        client.functions.invoke_async("echo", {"fail": "no"}).wait(30)
    dead = next(client.calls.list("echo", state="dead"))
    again = client.queues.redrive("echo", [dead.id])
    assert client.calls.wait(again.ids[0], 30, check=False).call.origin == dead.id
    assert client.queues.purge("echo", "dead").count >= 1
    client.queues.pause("echo")
    assert next(each for each in client.queues.show().queues if each.name == "echo").paused
    client.queues.resume("echo")


def test_pieces_come_in_time_and_a_slow_reader_holds_the_function_back(client: Any) -> None:
    began = time.monotonic()
    with client.functions.stream("echo", "ticks") as pieces:
        assert [next(pieces) for _ in range(3)][-1] == b"tick 2\n"
    assert time.monotonic() - began < 10  # all of it takes 20 s
    wait_until(lambda: client.functions.invoke("echo", "made").json() == 1, "the generator to be closed")
    with client.functions.stream("echo", "flood") as pieces:
        got = len(next(pieces))
        time.sleep(1.0)
    assert got
    assert client.functions.invoke("echo", "made").json() < 60  # of 500: what buffers hold, and no more


def test_lines_are_read_and_followed(client: Any) -> None:
    with pytest.raises(errors.HandlerFailed) as caught:
        client.functions.invoke("echo", {"fail": "so"})
    invocation = caught.value.request_id
    lines = wait_until(lambda: list(client.functions.logs("echo", invocation=invocation)), "the call's log")
    assert lines[0].message.strip() == "about to fail"
    with client.functions.logs("echo", follow=True, invocation=invocation) as following:
        assert next(following).invocation_id == invocation
    assert client.invocations.get(invocation).outcome == "handler_error"
    assert client.invocations.explain(invocation).summary


def test_lists_are_read_page_by_page(client: Any) -> None:
    names = [f"page-{number:03}" for number in range(130)]
    there = {each.name for each in client.secrets.list()}
    for name in names:
        if name not in there:
            client.secrets.set(name, "v")
    found = [each.name for each in client.secrets.list() if each.name in names]
    assert found == names
    assert len(list(client.secrets.list(limit=105))) == 105


def test_keys_namespaces_secrets_and_quotas(client: Any, steady: Platform) -> None:
    client.namespaces.create("team")
    team = client.with_options(namespace="team")
    key = team.keys.create("reader", "viewer")
    assert key.token.startswith("iso_")
    assert [each.id for each in team.keys.list()] == [key.id]
    with Client(steady.ready["url"], key.token, "team") as reader:
        assert reader.platform.me().grants[0].role == "viewer"
        with pytest.raises(errors.Forbidden):
            reader.secrets.set("s", "v")
    team.keys.delete(key.id)
    assert team.secrets.set("s", "v").version >= 1
    team.secrets.delete("s")
    assert team.quotas.change({"instances": 3}).limits["instances"] == 3
    assert client.quotas.get("team").own["instances"] == 3
    assert "team" in {each.name for each in client.namespaces.list()}
    client.namespaces.delete("team")
    with pytest.raises(errors.NotFound):
        client.namespaces.get("team")


def test_the_platform_tells_of_itself(client: Any) -> None:
    status = client.platform.status()
    assert status.counts.functions >= 1
    assert client.platform.hosts()[0].host_id == status.hosts[0].host_id
    assert client.platform.me().principal_id
    assert next(client.events.list("default")).kind
    head = client.events.head()
    verdict = client.events.verify(head.hash)
    assert (verdict.ok, verdict.expected) == (True, "found")


def test_a_restart_of_control_is_not_noticed(client: Any, steady: Platform) -> None:
    client.platform.me()
    steady.kill("control")
    assert client.functions.get("echo").name == "echo"
    assert client.functions.invoke("echo", 1).json() == {"got": 1}
    steady.kill("control")
    client.secrets.set("while-away", "v")
    steady.kill("control")
    client.queues.pause("echo")  # control was not there, so it did not begin
    client.queues.resume("echo")


def test_a_restart_of_the_host_is_waited_for(client: Any, steady: Platform) -> None:
    client.platform.me()
    steady.kill("host")
    assert client.functions.get("echo").name == "echo"
    call = client.functions.invoke_async("echo", 6)
    steady.kill("host")
    assert call.wait(30).result == {"got": 6}


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_of_the_whole_platform_is_waited_for(start: Callable[..., Platform], kind: str) -> None:
    first = start()
    port = str(urlsplit(first.ready["url"]).port)
    made = Client if kind == "blocking" else lambda **given: Waited(lambda: AsyncClient(**given))
    client = made(**options(first), retry_s=30)
    client.secrets.set("s", "v")
    first.stop()
    with pytest.raises(errors.Unavailable, match="cannot reach"):
        client.with_options(retry_s=0).secrets.get("s")
    starting = threading.Timer(1.0, start, ("--port", port))
    starting.start()
    assert client.secrets.get("s").version == 1
    starting.join()
    client.close()


def test_lines_are_followed_over_a_restart_of_control(client: Any, steady: Platform) -> None:
    with client.functions.logs("echo", follow=True, limit=1) as following:
        for number in range(2):
            with pytest.raises(errors.HandlerFailed) as caught:
                client.functions.invoke("echo", {"fail": f"so {number}"})
            wanted = caught.value.request_id
            assert any(line.invocation_id == wanted for line in following)
            steady.kill("control")


async def test_a_task_that_is_cancelled_ends_its_call(steady: Platform) -> None:
    async with AsyncClient(**options(steady)) as client:
        first = asyncio.Event()

        async def reading() -> None:
            async for _ in client.functions.stream("echo", "ticks"):
                first.set()

        task = asyncio.create_task(reading())
        await asyncio.wait_for(first.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            if (await client.functions.invoke("echo", "made")).json() == 1:
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the generator was not closed")


async def test_many_calls_at_once_share_a_client(steady: Platform) -> None:
    async with AsyncClient(**options(steady)) as client:
        answers = await asyncio.gather(*(client.functions.invoke("echo", number) for number in range(200)))
    assert [answer.json()["got"] for answer in answers] == list(range(200))


async def test_the_loop_is_not_blocked_by_a_deploy(
    steady: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = code_of(tmp_path / "f", "large", "def handler(event, context):\n    return 1\n")
    packing, ticked = threading.Event(), threading.Event()

    def pack(path: Path) -> bytes:
        packing.set()
        assert ticked.wait(30), "the loop stands still while the folder is packed"
        return zip_folder(path)

    monkeypatch.setattr(deploying, "zip_folder", pack)
    async with AsyncClient(**options(steady)) as client:
        task = asyncio.create_task(client.functions.deploy(folder))
        while not packing.is_set() and not task.done():
            await asyncio.sleep(0.005)
        ticked.set()
        assert (await task).number >= 1
    assert packing.is_set()
