"""The host as a whole: deploys by order, serves without control, comes back, ships telemetry at least once."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isotherm.storage.vault import Vault
from isotherm.wire.desired import DESIRED_FORMAT, Item, WarmSpec
from isotherm.wire.link import Hello
from tests.host.control import Rig

CONSTANT = "def handler(event, context):\n    return {value}\n"


@pytest.fixture
async def rig(tmp_path: Path, vault: Vault) -> AsyncIterator[Rig]:
    found = Rig(tmp_path, vault)
    await found.control.start()
    await found.start()
    await found.control.until(lambda: found.control.hellos, "a hello")
    yield found
    await found.stop()
    await found.control.stop()
    assert not found.driver.instances
    assert not found.driver.templates


async def test_the_hello_says_what_the_host_is(rig: Rig) -> None:
    hello: Hello = rig.control.hellos[0]
    assert hello.epoch is None
    assert hello.probes["fake"]["isolated"] is True
    assert hello.runtimes[0].startswith("python3.")


async def test_a_deploy_is_prepared_step_by_step_and_warm_before_its_route(rig: Rig) -> None:
    revision = rig.revision()
    reply = await rig.control.order("prepare", revision)
    assert (reply.problem, reply.result) == (None, {"template": True, "unfit": []})
    assert rig.control.progress("o1") == [
        ("unpack", "running"),
        ("unpack", "done"),
        ("import", "running"),
        ("import", "done"),
        ("start", "running"),
        ("start", "done"),
    ]
    assert len(rig.driver.instances) == 1
    rig.serve(revision)
    await rig.control.order("states", order_id="o2")
    status, _ = await rig.get("/f/")
    assert (status, rig.driver.prepared) == (200, 1)


async def test_a_deploy_that_fails_says_why_with_the_users_traceback(rig: Rig) -> None:
    reply = await rig.control.order("prepare", rig.revision("import no_such_module\n"))
    assert reply.problem is not None
    assert reply.problem["code"] == "import_failed"
    assert "no_such_module" in str(reply.problem["data"])
    assert rig.control.progress("o1")[-1] == ("import", "failed")
    bad = await rig.control.order("prepare", rig.revision(package=rig.blobs.put(b"no zip"), number=2), order_id="o2")
    assert bad.problem is not None
    assert bad.problem["code"] == "invalid_package"
    late = await rig.control.order("prepare", None, order_id="o3")
    assert late.problem is not None


async def test_an_unfit_module_is_told_with_its_reason(rig: Rig) -> None:
    rig.driver.faults.unfit = ("a thread was started",)
    reply = await rig.control.order("prepare", rig.revision())
    assert reply.result == {"template": False, "unfit": ["a thread was started"]}


async def test_calls_go_on_without_control_and_after_a_restart_without_it(rig: Rig) -> None:
    rig.serve(rig.revision(CONSTANT.format(value=1)))
    await rig.until_served("/f", b"1")
    await rig.control.stop()
    assert await rig.get("/f") == (200, b"1")
    await rig.stop()
    began = asyncio.get_running_loop().time()
    await rig.start()
    assert await rig.get("/f") == (200, b"1")
    assert asyncio.get_running_loop().time() - began < 15
    await rig.control.start()
    await rig.control.until(lambda: len(rig.control.hellos) >= 2, "a second hello")
    assert (rig.control.hellos[-1].epoch, rig.control.hellos[-1].version) == ("e", 1)
    assert rig.control.hellos[-1].host_id == rig.control.hellos[0].host_id
    assert rig.control.hellos[-1].boot_id != rig.control.hellos[0].boot_id


async def test_a_state_of_an_older_format_is_served_from_and_asked_for_anew(rig: Rig) -> None:
    rig.push(full=True, written_as=DESIRED_FORMAT - 1)
    rig.serve(rig.revision(CONSTANT.format(value=1)))
    await rig.until_served("/f", b"1")
    await rig.stop()
    await rig.start()
    assert await rig.get("/f") == (200, b"1")
    await rig.control.until(lambda: len(rig.control.hellos) >= 2, "a second hello")
    assert rig.control.hellos[-1].epoch is None


async def test_an_update_under_load_loses_no_request(rig: Rig) -> None:
    versions = [rig.revision(CONSTANT.format(value=number), number=number) for number in (1, 2, 3)]
    rig.serve(versions[0])
    await rig.until_served("/f", b"1")
    seen: list[tuple[int, bytes]] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            seen.append(await rig.get("/f"))

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for number, revision in enumerate(versions[1:], 2):
        assert (await rig.control.order("prepare", revision, order_id=f"p{number}")).problem is None
        rig.serve(revision)
        await rig.until_served("/f", b"%d" % number)
    stop.set()
    await asyncio.gather(*clients)
    assert {status for status, _ in seen} == {200}
    assert [body for body, _ in itertools.groupby(sorted(seen))] == [(200, b"1"), (200, b"2"), (200, b"3")]


async def test_a_changed_secret_is_taken_up_under_load_and_loses_no_request(rig: Rig) -> None:
    code = "import os\nTOKEN = os.environ['TOKEN']\n\ndef handler(event, context):\n    return TOKEN\n"
    revision = rig.revision(code, env={"TOKEN": "value-0"}, secrets={"TOKEN": "token"})
    assert (await rig.control.order("prepare", revision)).problem is None
    rig.serve(revision)
    await rig.until_served("/f", b'"value-0"')
    assert rig.driver.prepared == 1, "what was prepared is what is served"
    seen: list[tuple[int, bytes]] = []
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            seen.append(await rig.get("/f"))

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for number in (1, 2, 3):
        rig.push(Item(revision=msgspec.structs.replace(revision, env={"TOKEN": f"value-{number}"})))
        await rig.until_served("/f", b'"value-%d"' % number)
    stop.set()
    await asyncio.gather(*clients)
    assert set(seen) == {(200, b'"value-%d"' % number) for number in range(4)}
    await rig.control.until(lambda: len(rig.driver.templates) == 1, "the end of the former templates")
    assert (await rig.get("/f"))[1] == b'"value-3"'


async def test_forget_and_removal_end_what_a_revision_holds(rig: Rig) -> None:
    revision = rig.revision()
    rig.serve(revision)
    await rig.control.order("prepare", revision)
    assert (await rig.control.order("forget", revision, order_id="o2")).problem is None
    assert not rig.driver.templates
    assert (await rig.get("/f"))[0] == 200
    rig.push(full=True)
    await rig.control.order("states", order_id="o3")
    assert (await rig.get("/f"))[0] == 401
    async with asyncio.timeout(5):
        while rig.driver.templates:
            await asyncio.sleep(0.01)


async def test_a_minimum_of_instances_is_there_without_a_call(rig: Rig) -> None:
    rig.serve(rig.revision(warm=WarmSpec(min_instances=2, spare=0)))
    async with asyncio.timeout(8):
        while len(rig.driver.instances) < 2:
            await asyncio.sleep(0.02)


async def test_telemetry_comes_within_a_second_and_once_it_is_acknowledged_never_again(rig: Rig) -> None:
    rig.serve(rig.revision("def handler(event, context):\n    print('a line')\n    return 1\n"))
    await rig.until_served("/f", b"1")
    batches = rig.control.batches
    await rig.control.until(lambda: any(each.invocations for each in batches), "a record")
    await rig.control.until(lambda: any(each.logs for each in batches), "a log line")
    assert sum(minute.count for each in batches for minute in each.minutes) >= 1
    (line,) = [line for each in batches for line in each.logs if "a line" in line.message]
    record = next(record for each in batches for record in each.invocations)
    assert (line.invocation_id, record.cold_cause) == (record.id, record.cold_cause)
    assert record.why_kept == "cold"
    keys = [(each.boot_id, each.sequence) for each in batches]
    assert len(keys) == len(set(keys))


async def test_what_is_not_acknowledged_comes_again_also_after_a_restart(rig: Rig) -> None:
    rig.control.acknowledge = False
    rig.serve(rig.revision(CONSTANT.format(value=1)))
    await rig.until_served("/f", b"1")
    await rig.control.until(lambda: any(each.minutes for each in rig.control.batches), "counts")
    first = next(each for each in rig.control.batches if each.minutes)
    await rig.control.stop()
    await rig.stop()
    assert await rig_count(rig) >= 1
    rig.control.batches.clear()
    rig.control.acknowledge = True
    await rig.control.start()
    await rig.start()
    await rig.control.until(lambda: first in rig.control.batches, "the same batch")
    async with asyncio.timeout(8):
        while any(key[0] == first.boot_id for key in rig.service.shipper._spool.waiting()):
            await asyncio.sleep(0.02)


async def rig_count(rig: Rig) -> int:
    """Batches on disk."""
    return await asyncio.to_thread(lambda: len(list((rig.folder / "host" / "spool").glob("*.batch"))))


async def test_logs_and_secrets_are_not_readable_on_disk(rig: Rig) -> None:
    rig.control.acknowledge = False
    rig.serve(rig.revision("def handler(event, context):\n    print('private')\n    return 1\n", env={"TOKEN": "hush"}))
    await rig.until_served("/f", b"1")
    await rig.control.until(lambda: any(each.logs for each in rig.control.batches), "a log line")
    assert await rig_count(rig) >= 1
    contents = await asyncio.to_thread(
        lambda: (
            b"".join(path.read_bytes() for path in (rig.folder / "host").glob("*.bin"))
            + b"".join(path.read_bytes() for path in (rig.folder / "host" / "spool").iterdir())
        )
    )
    assert not {word for word in (b"private", b"hush", b"rev_f_1") if word in contents}


async def test_the_metrics_page_is_prometheus(rig: Rig) -> None:
    rig.serve(rig.revision(CONSTANT.format(value=1)))
    await rig.until_served("/f", b"1")
    status, body = await rig.get("/metrics", port=rig.api)
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    requests = {tuple(s.labels.items()): s.value for s in families["isotherm_requests"].samples}
    assert any(("function", "f") in key and ("outcome", "ok") in key and value >= 1 for key, value in requests.items())
    latency = {s.labels["le"]: s.value for s in families["isotherm_request_seconds"].samples if "le" in s.labels}
    assert latency["+Inf"] >= 1
    assert list(latency.values()) == sorted(latency.values())
    assert {s.labels["temperature"] for s in families["isotherm_instances"].samples} == {
        "hot",
        "warm",
        "spare",
        "template",
    }
    assert (await rig.get("/metrics", port=rig.api, token="iso_no"))[0] == 401


async def test_readiness_needs_state_and_a_driver(rig: Rig) -> None:
    assert (await rig.get("/readyz", port=rig.api))[0] == 503
    rig.push(Item(revision=rig.revision()))
    await rig.control.order("states")
    assert (await rig.get("/readyz", port=rig.api))[0] == 200
    assert (await rig.get("/healthz", port=rig.api))[0] == 200
