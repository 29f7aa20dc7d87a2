"""The world outside, a warden with an egress process, and functions that try to get there."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from isotherm.sandbox.model import EgressReport
from isotherm.wire.egress import EgressAllow
from tests.conftest import require
from tests.contracts.sandbox.client import Client
from tests.egress.egress_process import EgressProcess
from tests.egress.outside import Outside
from tests.sandbox.conftest import Bench, bench, warden
from tests.sandbox.warden_process import WardenProcess

__all__ = ["Reach", "Traveller", "bench", "egress", "outside", "reach", "warden"]

# What a function can do: the handler takes {"do": name, …} and returns what became of it, or the error's name.
TRAVELLER = """
import http.client, socket, ssl, urllib.error, urllib.request

def web(event):
    headers = {"host": event["host"]} if "host" in event else {}
    request = urllib.request.Request(event["url"], headers=headers)
    with urllib.request.urlopen(request, timeout=8) as answer:
        return answer.read().decode()

def echo(event):
    with socket.create_connection((event["host"], event["port"]), 8) as client:
        stream = client.makefile("rwb")
        greeting = stream.readline().decode()
        stream.write(event.get("text", "").encode())
        stream.flush()
        client.shutdown(socket.SHUT_WR)
        return greeting + stream.read().decode()

def tls(event):
    context = ssl._create_unverified_context()
    with socket.create_connection((event["host"], event["port"]), 8) as client:
        context.wrap_socket(client, server_hostname=event["name"]).close()
    return "worked"

def names(event):
    return sorted({row[4][0] for row in socket.getaddrinfo(event["name"], 80)})

def datagram(event):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((event["host"], event["port"]))
        client.send(b"x")
        return client.recv(100).decode("latin-1")

def many(event):
    clients = []
    try:
        for _ in range(event["count"]):
            client = socket.create_connection((event["host"], event["port"]), 8)
            client.settimeout(8)
            clients.append(client)
            if not client.recv(100):
                return len(clients) - 1
    except OSError:
        return len(clients) - 1
    return len(clients)

def quiet(event):
    with socket.create_connection((event["host"], event["port"]), 8) as client:
        client.settimeout(8)
        client.recv(100)
        try:
            return "ended" if not client.recv(100) else "said more"
        except ConnectionResetError:
            return "ended"

def big(event):
    with urllib.request.urlopen(event["url"], timeout=20) as answer:
        return sum(len(piece) for piece in iter(lambda: answer.read(1 << 16), b""))

def upload(event):
    with urllib.request.urlopen(event["url"], data=bytes(event["size"]), timeout=20) as answer:
        return answer.status

def handler(event, context):
    try:
        return globals()[event["do"]](event)
    except urllib.error.URLError as exc:
        return type(exc.reason).__name__
    except (OSError, http.client.HTTPException) as exc:
        return type(exc).__name__
"""


class Traveller:
    """One instance of a function with these rules, and what was told of it."""

    def __init__(self, client: Client, reports: list[EgressReport]) -> None:
        self.client = client
        self.reports = reports

    async def __call__(self, do: str, **event: Any) -> Any:
        return (await self.client.invoke({"do": do, **event})).value

    @property
    def lines(self) -> list[str]:
        return [line for report in self.reports for line in report.lines]

    def total(self, name: str) -> int:
        return sum(getattr(report, name) for report in self.reports)

    async def told(self, text: str) -> str:
        """The line of the function's log with this text, waited for."""
        for _ in range(200):
            found = next((line for line in self.lines if text in line), None)
            if found is not None:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"nothing was said of {text!r}: {self.lines}")


Reach = Callable[..., Awaitable[Traveller]]


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    require(shutil.which("ip"), "needs ip (iproute2)")
    with Outside() as found:
        yield found


@pytest.fixture
def egress(warden: WardenProcess) -> Iterator[EgressProcess]:
    with EgressProcess(warden) as process:
        yield process


@pytest.fixture
async def reach(bench: Bench, egress: EgressProcess, outside: Outside) -> Reach:
    """`await reach("api.example.com", cidrs=[…])`: an instance of a function that may go there."""

    async def make(*hosts: str, cidrs: tuple[str, ...] = (), code: str = TRAVELLER, **changes: Any) -> Traveller:
        reports: list[EgressReport] = []
        allow = EgressAllow(hosts=list(hosts), cidrs=list(cidrs)) if hosts or cidrs else None
        template = await bench.driver.prepare(bench.spec(code, egress=allow, **changes), reports.append)
        return Traveller(await bench.client(template), reports)

    return make
