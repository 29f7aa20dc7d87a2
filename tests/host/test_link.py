"""The link from the host's end: what a control that misbehaves, leaves or is of another time can do to it."""

import asyncio
from pathlib import Path

import pytest

from isotherm.host.link import LinkClient
from isotherm.wire.desired import Desired
from isotherm.wire.link import PROTOCOL, Ack, FromControl, Hello, Order, State, Welcome, encode


class User:
    """Keeps what comes, in order."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            host_id="h",
            boot_id="b",
            isotherm_version="1",
            epoch=None,
            version=0,
            probes={},
            runtimes=[],
        )

    def desired(self, desired: Desired) -> None:
        self.seen.append(desired.version)

    def order(self, order: Order) -> None:
        self.seen.append(order.verb)

    async def acknowledged(self, boot_id: str, sequence: int) -> None:
        self.seen.append((boot_id, sequence))

    async def connected(self) -> None:
        self.seen.append("connected")

    def disconnected(self) -> None:
        self.seen.append("disconnected")

    async def until(self, wanted: object, count: int = 1) -> None:
        async with asyncio.timeout(8):
            while self.seen.count(wanted) < count:
                await asyncio.sleep(0.005)


class Script:
    """Answers each connection with the next of `answers`; the last is kept open."""

    def __init__(self, path: str, *answers: bytes) -> None:
        self.path = path
        self.answers = list(answers)
        self.connections = 0
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.answers.pop(0))
        await writer.drain()
        if not self.answers:
            await reader.read()
        writer.close()


def messages(*what: FromControl) -> bytes:
    return b"".join(encode(each) for each in what)


WELCOME = Welcome(protocol=PROTOCOL, isotherm_version="1")
STATE = State(Desired(epoch="e", version=7, full=True))
ORDER = Order(id="o", verb="states", timeout_s=1)


@pytest.fixture
def user() -> User:
    return User()


async def converse(tmp_path: Path, user: User, *answers: bytes) -> tuple[Script, "asyncio.Task[None]"]:
    script = Script(str(tmp_path / "l.sock"), *answers)
    task = asyncio.create_task(LinkClient(script.path, user).run())
    await asyncio.sleep(0.05)  # the first try finds nobody
    await script.start()
    return script, task


async def test_what_comes_is_handled_in_order(tmp_path: Path, user: User) -> None:
    _, task = await converse(tmp_path, user, messages(WELCOME, STATE, ORDER, Ack(boot_id="b", sequence=3)))
    await user.until(("b", 3))
    assert user.seen == ["connected", 7, "states", ("b", 3)]
    task.cancel()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xff\xff\xff",
        b"\x03\x00\x00\x00abc",
        messages(ORDER),
        messages(Welcome(protocol=99, isotherm_version="9")),
    ],
    ids=["too long", "not a message", "no welcome", "another protocol"],
)
async def test_nonsense_ends_the_connection_and_the_next_is_fine(tmp_path: Path, user: User, nonsense: bytes) -> None:
    script, task = await converse(tmp_path, user, nonsense, messages(WELCOME, STATE))
    await user.until(7)
    assert script.connections == 2
    assert user.seen == ["disconnected", "connected", 7]
    task.cancel()


async def test_a_control_that_leaves_is_looked_for_again(tmp_path: Path, user: User) -> None:
    script, task = await converse(tmp_path, user, messages(WELCOME), messages(WELCOME), messages(WELCOME, STATE))
    await user.until(7)
    assert script.connections == 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert user.seen[-1] == "disconnected"


async def test_sending_without_a_connection_is_harmless(tmp_path: Path, user: User) -> None:
    client = LinkClient(str(tmp_path / "none.sock"), user)
    assert not client.connected()
    client.send(user.hello())
