"""Which names and addresses a revision may reach."""

from ipaddress import ip_address, ip_network

import pytest

from isotherm.egress import policy
from isotherm.egress.model import EgressLimits, Tally, Target
from isotherm.egress.policy import Seen
from isotherm.wire.egress import EVERYTHING, EgressAllow, Rules, parse_rules

LIMITS = EgressLimits(connections=10, idle_s=10, never=(ip_network("198.51.100.0/24"),), own_ports=frozenset({7070}))


def rules(*hosts: str, cidrs: tuple[str, ...] = ()) -> Rules:
    return parse_rules(EgressAllow(hosts=list(hosts), cidrs=list(cidrs)))


OPEN = parse_rules(EVERYTHING)


def refusal(of: Rules, address: str, port: int = 443, *, own: bool = False, by_name: bool = False) -> str | None:
    return policy.refusal(of, Seen(ip_address(address), own), port, LIMITS, by_name=by_name)


def test_only_allowed_names_are_looked_up() -> None:
    some = rules("api.example.com:443", "*.example.org")
    assert policy.may_ask(some, "api.example.com")
    assert policy.may_ask(some, "a.example.org")
    assert not policy.may_ask(some, "secret.attacker.example")
    assert not policy.may_ask(some, "example.org")
    assert not policy.may_ask(rules(cidrs=("0.0.0.0/0",)), "api.example.com")
    assert policy.may_ask(OPEN, "anything")


def test_a_refused_name_says_what_to_add() -> None:
    some = rules("api.example.com:443")
    assert policy.name_refusal(some, "api.example.com", 443) is None
    why = policy.name_refusal(some, "api.example.com", 80)
    assert why == 'egress to api.example.com:80 is not allowed; add "api.example.com:80" to egress.hosts'


def test_a_public_address_needs_its_name_or_its_network() -> None:
    assert refusal(rules("a.example"), "1.1.1.1", by_name=True) is None
    assert "egress.cidrs" in (refusal(rules("a.example"), "1.1.1.1") or "")
    assert refusal(rules(cidrs=("1.1.1.0/24:443",)), "1.1.1.1") is None
    assert refusal(rules(cidrs=("1.1.1.0/24:443",)), "1.1.1.1", 80) is not None
    assert refusal(OPEN, "1.1.1.1") is None


@pytest.mark.parametrize("by_name", [False, True])
def test_a_private_address_needs_a_network_about_it_whatever_its_name(by_name: bool) -> None:
    assert "private" in (refusal(OPEN, "10.1.2.3", by_name=by_name) or "")
    assert "private" in (refusal(OPEN, "::ffff:10.1.2.3", by_name=by_name) or "")
    assert refusal(rules("*", cidrs=("10.1.0.0/16",)), "10.1.2.3", by_name=by_name) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "fe80::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("by_name", [False, True])
def test_no_rule_reaches_the_machine_or_its_metadata(address: str, by_name: bool) -> None:
    wide = rules("*", cidrs=("0.0.0.0/0", "::/0", "0.0.0.0/1", "::/1"))
    assert "no rule allows that" in (refusal(wide, address, by_name=by_name) or "")


def test_an_address_of_this_machine_needs_a_rule_about_it_alone() -> None:
    assert "of the machine" in (refusal(OPEN, "203.0.113.1", own=True) or "")
    assert "of the machine" in (refusal(OPEN, "203.0.113.1", own=True, by_name=True) or "")
    assert "of the machine" in (refusal(rules(cidrs=("203.0.113.0/24",)), "203.0.113.1", own=True) or "")
    assert refusal(rules(cidrs=("203.0.113.1:443",)), "203.0.113.1", own=True) is None


def test_the_platforms_own_ports_are_closed_whatever_the_rules_say() -> None:
    named = rules(cidrs=("203.0.113.1",))
    assert refusal(named, "203.0.113.1", 7070, own=True) == "it is a port of the platform itself"
    assert refusal(named, "203.0.113.1", 7070) is None  # the same port elsewhere is nobody's business


def test_what_the_operator_closed_stays_closed() -> None:
    why = refusal(rules(cidrs=("198.51.100.0/24",)), "198.51.100.7")
    assert why == "the operator closed that network to all functions"


def test_of_the_addresses_of_a_name_those_that_may_be_are_tried_ipv4_first() -> None:
    found = [Seen(ip_address(text), False) for text in ("2606:4700::1", "127.0.0.1", "1.1.1.1", "10.0.0.1")]
    allowed, why = policy.permitted(OPEN, Target("a.example", 443), found, LIMITS)
    assert ([str(each) for each in allowed], why) == (["1.1.1.1", "2606:4700::1"], None)


def test_a_name_with_no_address_that_may_be_says_what_it_is() -> None:
    allowed, why = policy.permitted(OPEN, Target("db.lan", 5432), [Seen(ip_address("10.0.0.9"), False)], LIMITS)
    assert allowed == []
    assert why == (
        "egress to db.lan:5432 (it is 10.0.0.9) is not allowed: "
        'it is a private address; add its network to egress.cidrs, such as "10.0.0.9:5432"'
    )


def test_refusals_are_told_once_counted_and_bounded() -> None:
    tally = Tally()
    for _ in range(3):
        tally.refuse("the same")
    for number in range(20):
        tally.refuse(f"number {number}")
    lines = tally.lines()
    assert tally.refused == 23
    assert lines[0] == "the same (3 times)"
    assert lines[-1] == "egress was refused 13 more times"
    assert len(lines) == 9
