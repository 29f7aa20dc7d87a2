"""The warden's desk for egress: sockets handed out and handed out again, reports passed on within bounds."""

import asyncio
import os
import socket
from typing import Any

import pytest

from isotherm.warden import egress
from isotherm.warden.egress import EgressDesk
from isotherm_runtime.seqpacket import close_all, receive, send

RULES = '{"hosts":["api.example.com"]}'


class Network:
    """Stands for the sockets of a revision."""

    def duplicates(self) -> list[int]:
        return [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]


class Desk:
    def __init__(self) -> None:
        self.desk = EgressDesk()
        self.told: list[dict[str, Any]] = []

    def process(self) -> socket.socket:
        """A new egress process's end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.desk.connect(theirs)
        ours.settimeout(5)
        return ours

    def open(self) -> str:
        return self.desk.open("t1", RULES, Network(), self.told.append)  # type: ignore[arg-type]  # stands for it


@pytest.fixture
async def desk() -> Desk:
    return Desk()


def next_of(process: socket.socket) -> tuple[dict[str, Any], int]:
    message, descriptors = receive(process)
    close_all(descriptors)
    return message, len(descriptors)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_process_is_handed_what_is_open_also_a_later_one(desk: Desk) -> None:
    number = desk.open()
    wanted = ({"op": "open", "id": number, "rules": RULES}, 3)
    first = desk.process()
    assert next_of(first) == wanted
    assert next_of(desk.process()) == wanted


async def test_a_report_is_passed_on_with_its_revision_within_bounds(desk: Desk) -> None:
    process, number = desk.process(), desk.open()
    report = {"opened": 2, "refused": -1, "open": "3", "sent_bytes": 1 << 60, "received_bytes": True}
    send(process, {"op": "report", "id": number, **report, "lines": ["x" * 900] * 40, "more": 1})
    await settle()
    (told,) = desk.told
    assert {name: told[name] for name in report} == {
        "opened": 2, "refused": 0, "open": 0, "sent_bytes": 0, "received_bytes": 0,
    }  # fmt: skip
    assert (told["op"], told["id"], len(told["lines"]), len(told["lines"][0])) == ("egress", "t1", 16, 500)


async def test_a_report_of_nothing_that_is_open_is_dropped(desk: Desk) -> None:
    process = desk.process()
    desk.open()
    for message in ({"op": "report", "id": "g9"}, {"op": "report"}, {"op": "open", "id": "g1"}, {}):
        send(process, message)
    await settle()
    assert desk.told == []


async def test_a_close_waits_for_the_last_report(desk: Desk) -> None:
    process, number = desk.process(), desk.open()
    next_of(process)
    closing = asyncio.create_task(desk.desk.close(number))
    await settle()
    assert next_of(process) == ({"op": "close", "id": number}, 0)
    assert not closing.done()
    send(process, {"op": "closed", "id": number, "refused": 1, "lines": ["the last"]})
    await asyncio.wait_for(closing, 5)
    assert desk.told[-1]["lines"] == ["the last"]


async def test_a_close_does_not_wait_for_a_process_that_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_CLOSE_TIMEOUT_S", 60.0)
    process, number = desk.process(), desk.open()
    closing = asyncio.create_task(desk.desk.close(number))
    await settle()
    process.close()
    await asyncio.wait_for(closing, 5)
    nothing = dict.fromkeys(("opened", "refused", "open", "sent_bytes", "received_bytes"), 0)
    assert desk.told[-1] == {"op": "egress", "id": "t1", "lines": [], **nothing}


async def test_a_close_without_a_process_is_done_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "_CLOSE_TIMEOUT_S", 60.0)
    await asyncio.wait_for(desk.desk.close(desk.open()), 5)
