"""Addresses that stand for names, and the name server that gives them out."""

import asyncio
import socket
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.egress.drivers.name_servers import parse_server
from isotherm.egress.model import EgressLimits, Tally
from isotherm.egress.names import NameTable
from isotherm.egress.port import NameNotFound, NamesUnavailable
from isotherm.egress.queries import NameService
from isotherm.wire.egress import SYNTHETIC, Address, EgressAllow, parse_rules


def test_a_name_has_the_same_address_in_every_life() -> None:
    first, second = NameTable(["a.example"]), NameTable()
    address = first.address_of("b.example")
    assert second.address_of("b.example") == address
    assert address in SYNTHETIC
    assert first.name_of(address) == "b.example"
    assert second.name_of(first.address_of("a.example")) is None  # not given out in this one


@given(st.lists(st.text("abc", min_size=1, max_size=6), unique=True, max_size=60))
def test_no_two_names_share_an_address(names: list[str]) -> None:
    table = NameTable()
    addresses = {name: table.address_of(name) for name in names}
    assert {name: table.name_of(address) for name, address in addresses.items()} == {name: name for name in names}
    assert len(set(addresses.values())) == len(names)


def test_the_names_not_asked_for_longest_are_forgotten() -> None:
    table = NameTable(limit=3)
    addresses = [table.address_of(f"n{number}") for number in range(3)]
    table.address_of("n0")
    table.address_of("n3")
    assert [table.name_of(address) for address in addresses] == ["n0", None, "n2"]
    assert table.name_of(ip_address("1.1.1.1")) is None


class World:
    """A resolver that knows one name and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def addresses(self, name: str) -> list[Address]:
        self.asked.append(name)
        if name == "broken.example.com":
            raise NamesUnavailable("no name server answers")
        if name != "api.example.com":
            raise NameNotFound(name)
        return [ip_address("203.0.113.10")]


class Service:
    def __init__(self, **limits: float) -> None:
        self.world, self.tally = World(), Tally()
        rules = parse_rules(EgressAllow(hosts=["api.example.com:443", "*.example.com"]))
        self.names = NameTable()
        sockets = [socket.socket(type=kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        bounds = EgressLimits(connections=1, idle_s=1, **limits)  # type: ignore[arg-type]  # a test's own
        self.service = NameService(rules, self.names, self.world, bounds, *sockets, lambda: self.tally)

    async def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        answer = await self.service.answer(dns.message.make_query(name, kind).to_wire())
        assert answer is not None
        return dns.message.from_wire(answer)


@pytest.fixture
async def names() -> Service:
    return Service()


async def test_an_allowed_name_gets_an_address_that_stands_for_it(names: Service) -> None:
    answer = await names.ask("API.example.com.")
    assert answer.rcode() == dns.rcode.NOERROR
    address = answer.answer[0][0].to_text()
    assert names.names.name_of(ip_address(address)) == "api.example.com"


async def test_an_allowed_name_has_addresses_of_one_family_and_no_other_records(names: Service) -> None:
    for kind in ("AAAA", "TXT", "HTTPS", "MX"):
        answer = await names.ask("api.example.com", kind)
        assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


async def test_no_other_name_leaves_the_machine(names: Service) -> None:
    for name in ("c2VjcmV0.attacker.example", "example.com", "api.example.com.attacker.example"):
        assert (await names.ask(name)).rcode() == dns.rcode.NXDOMAIN
    assert names.world.asked == []
    assert names.tally.refused == 3
    assert 'add "example.com" to egress.hosts' in names.tally.lines()[1]


async def test_what_libraries_ask_by_themselves_is_refused_without_a_word(names: Service) -> None:
    assert (await names.ask("1.18.198.in-addr.arpa", "PTR")).rcode() == dns.rcode.NXDOMAIN
    assert not names.tally


async def test_a_name_that_is_not_there_and_one_that_nobody_knows_differ(names: Service) -> None:
    assert (await names.ask("missing.example.com")).rcode() == dns.rcode.NXDOMAIN
    assert (await names.ask("broken.example.com")).rcode() == dns.rcode.SERVFAIL
    assert names.tally.lines() == ["egress: the name broken.example.com cannot be resolved: no name server answers"]


async def test_a_flood_of_names_is_refused() -> None:
    names = Service(queries_per_s=0.001, query_burst=5)
    answers = await asyncio.gather(*(names.ask("api.example.com") for _ in range(9)))
    assert [answer.rcode() for answer in answers].count(dns.rcode.REFUSED) == 4
    assert names.tally.refused == 4


@given(st.binary(max_size=200))
def test_any_bytes_are_answered_or_dropped(query: bytes) -> None:
    async def ask() -> None:
        await Service().service.answer(query)

    asyncio.run(ask())


async def test_an_answer_and_another_operation_are_no_queries(names: Service) -> None:
    answer = await names.service.answer(dns.message.make_response(dns.message.make_query("a.example", "A")).to_wire())
    assert answer is None
    update = dns.message.make_query("api.example.com", "A")
    update.set_opcode(5)
    answered = await names.service.answer(update.to_wire())
    assert answered is None or dns.message.from_wire(answered).rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("[::1]:54", ("::1", 54)),
        ("::1", ("::1", 53)),
    ],
)
def test_a_name_server_is_read(text: str, server: tuple[str, int]) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["dns.example", "192.0.2.53:0", "192.0.2.53:x", ""])
def test_what_is_no_name_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_server(text)
