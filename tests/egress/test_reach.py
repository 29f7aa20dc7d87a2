"""Functions that reach what they may, with clients that know nothing of it: real sandboxes, a real world outside."""

import asyncio
import json
import os

import pytest

from isotherm.sandbox.model import EgressReport
from isotherm.wire.egress import EgressAllow
from tests.contracts.sandbox.client import Client
from tests.egress.conftest import TRAVELLER, Reach, Traveller
from tests.egress.egress_process import EgressProcess
from tests.egress.outside import API, DATABASE, OTHER, PRIVATE
from tests.sandbox.conftest import Bench
from tests.sandbox.footprint import take_footprint
from tests.sandbox.warden_process import WardenProcess

pytestmark = pytest.mark.root


async def web(of: Traveller, url: str, **event: str) -> str:
    """The address that answered, or the error."""
    answer = await of("web", url=url, **event)
    return json.loads(answer)["address"] if answer.startswith("{") else answer


async def test_an_allowed_host_is_reached_by_its_name(reach: Reach) -> None:
    function = await reach("api.example.com", "db.example.com:5432")
    assert await web(function, "http://api.example.com/x") == API
    assert await web(function, "http://API.example.com:8080/x") == API
    assert await function("echo", host="db.example.com", port=5432, text="ping\n") == (
        f"hello from {DATABASE}\nping\nbye\n"
    )
    async with asyncio.timeout(10):
        while function.total("opened") < 3 or min(map(function.total, ("sent_bytes", "received_bytes"))) <= 100:
            await asyncio.sleep(0.02)
    assert (function.total("opened"), function.total("refused")) == (3, 0)


async def test_a_star_allows_what_is_below(reach: Reach) -> None:
    function = await reach("*.wild.example.org:80")
    assert await web(function, "http://a.wild.example.org/") == API
    assert await web(function, "http://b.wild.example.org/") == OTHER
    assert await web(function, "http://other.example.net/") == "gaierror"


async def test_a_network_is_reached_by_address(reach: Reach) -> None:
    function = await reach(cidrs=("198.51.100.12:5432", "198.51.100.8/30:80"))
    assert (await function("echo", host=DATABASE, port=5432)).startswith(f"hello from {DATABASE}")
    assert await web(function, f"http://{API}/") == API
    assert await web(function, f"http://{API}:8080/") == "ConnectionResetError"
    assert "198.51.100.10:8080" in await function.told("8080")


async def test_a_private_address_needs_its_network_also_behind_a_name(reach: Reach) -> None:
    by_name = await reach("inside.example.com")
    assert await web(by_name, "http://inside.example.com/") == "ConnectionResetError"
    assert f"(it is {PRIVATE}) is not allowed: it is a private address" in await by_name.told(PRIVATE)
    both = await reach("inside.example.com", cidrs=("10.213.0.0/24:80",))
    assert await web(both, "http://inside.example.com/") == PRIVATE


async def test_open_reaches_any_public_host_and_nothing_private(reach: Reach) -> None:
    function = await reach("*", cidrs=("0.0.0.0/0", "::/0"))
    assert await web(function, "http://other.example.net/") == OTHER
    assert await web(function, f"http://{API}/") == API
    assert await web(function, f"http://{PRIVATE}/") == "ConnectionResetError"
    assert await function("names", name="missing.example.com") == "gaierror"


async def test_a_host_whose_first_address_is_dead_is_reached_by_the_next(reach: Reach) -> None:
    function = await reach("two.example.com")
    assert await web(function, "http://two.example.com/") == API


async def test_much_goes_both_ways_whole(reach: Reach) -> None:
    function = await reach("api.example.com")
    size = 20_000_000
    assert await function("big", url=f"http://api.example.com/big/{size}") == size
    assert await function("upload", url="http://api.example.com/", size=5_000_000) == 200


async def test_code_reaches_out_at_import_too(reach: Reach) -> None:
    code = """
import urllib.request
FOUND = urllib.request.urlopen("http://api.example.com/at-import", timeout=8).read().decode()
def handler(event, context): return FOUND
"""
    assert json.loads(await (await reach("api.example.com", code=code))("web"))["path"] == "/at-import"


async def test_all_instances_of_a_revision_reach_out(reach: Reach) -> None:
    code = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    function = await reach("api.example.com", code=code + TRAVELLER)  # unfit: each instance imports for itself
    assert await web(function, "http://api.example.com/") == API


async def test_revisions_with_egress_leave_nothing(bench: Bench, egress: EgressProcess, outside: object) -> None:
    spec = bench.spec(TRAVELLER, egress=EgressAllow(hosts=["db.example.com"]))

    async def once() -> None:
        reports: list[EgressReport] = []
        template = await bench.driver.prepare(spec, reports.append)
        async with Client(await template.start()) as client:
            await client.started()
            event = {"do": "many", "host": "db.example.com", "port": 5432, "count": 3}
            assert (await client.invoke(event)).value == 3
        os.close(client.instance.output)
        await template.close()
        assert reports[-1].open == 0

    await once()  # what is made once stays: the nursery, the resolver's sockets
    before = take_footprint(bench.warden), egress.descriptors()
    for _ in range(5):
        await once()
    assert (take_footprint(bench.warden), egress.descriptors()) == before


async def test_a_new_egress_process_takes_up_where_the_old_one_ended(reach: Reach, egress: EgressProcess) -> None:
    function = await reach("api.example.com")
    address = await function("names", name="api.example.com")
    assert await web(function, "http://api.example.com/") == API
    egress.kill()
    waiting = asyncio.create_task(web(function, f"http://{address[0]}/", host="api.example.com"))
    await asyncio.sleep(0.2)
    assert not waiting.done()  # it waits in the backlog
    egress.start()
    assert await waiting == API
    assert await web(function, "http://api.example.com/") == API


async def test_too_many_connections_at_once_are_refused(reach: Reach) -> None:
    function = await reach("db.example.com")
    assert await function("many", host="db.example.com", port=5432, count=80) == 64
    assert await function.told("limit of 64 connections")


async def test_who_refuses_a_connection_is_told(reach: Reach) -> None:
    function = await reach("api.example.com")
    assert await web(function, "http://api.example.com:81/") == "ConnectionResetError"
    assert await function.told("egress to api.example.com:81 failed: Connection refused")


async def test_silent_connections_and_dead_addresses_are_given_up(
    bench: Bench, warden: WardenProcess, outside: object
) -> None:
    reports: list[EgressReport] = []
    with EgressProcess(warden, idle_s=0.5):
        spec = bench.spec(TRAVELLER, egress=EgressAllow(hosts=["db.example.com", "deaf.example.com"]))
        template = await bench.driver.prepare(spec, reports.append)
        function = Traveller(await bench.client(template), reports)
        assert await function("quiet", host="db.example.com", port=5432) == "ended"
        assert await function("echo", host="deaf.example.com", port=80) in ("ConnectionResetError", "TimeoutError")
        assert await function.told("egress to deaf.example.com:80 failed")
