"""Rules of egress as they are written, and what addresses are."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.wire.egress import (
    EVERYTHING,
    CidrRule,
    EgressAllow,
    HostRule,
    allowed,
    kind_of,
    parse_cidr,
    parse_host,
    parse_networks,
    parse_rules,
    plain,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("api.example.com", HostRule("api.example.com")),
        ("API.Example.com:443", HostRule("api.example.com", 443)),
        ("*.example.org:8443", HostRule("*.example.org", 8443)),
        ("*", HostRule("*")),
        ("*:443", HostRule("*", 443)),
        ("db", HostRule("db")),
        ("_srv.example.com", HostRule("_srv.example.com")),
    ],
)
def test_hosts_are_read(text: str, rule: HostRule) -> None:
    assert parse_host(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "https://a.com", "a.com/", "a..com", ".a.com", "a.com.", "*a.com", "a.*.com", "-a.com", "a b", "a.com:",
     "a.com:0", "a.com:65536", "ä.com", "a" * 64 + ".com", "a." * 127 + "toolong", "**.a.com", "a.com:٣"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host name|a port is"):
        parse_host(text)


def test_an_address_among_the_hosts_is_told_where_it_belongs() -> None:
    with pytest.raises(ValueError, match=r"belongs in egress\.cidrs"):
        parse_host("10.0.0.1")


@pytest.mark.parametrize(
    ("rule", "name", "matches"),
    [
        ("example.com", "example.com", True),
        ("example.com", "a.example.com", False),
        ("example.com", "badexample.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*", "anything.at.all", True),
    ],
)
def test_a_host_matches_itself_and_a_star_what_is_below(rule: str, name: str, matches: bool) -> None:
    assert parse_host(rule).matches(name) is matches


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.1.0.0/16", "10.1.0.0/16", None),
        ("10.1.0.0/16:5432", "10.1.0.0/16", 5432),
        ("203.0.113.7", "203.0.113.7/32", None),
        ("203.0.113.7:22", "203.0.113.7/32", 22),
        ("2001:db8::/32", "2001:db8::/32", None),
        ("[2001:db8::/32]:443", "2001:db8::/32", 443),
        ("[2001:db8::1]", "2001:db8::1/128", None),
        ("0.0.0.0/0", "0.0.0.0/0", None),
    ],
)
def test_networks_are_read(text: str, network: str, port: int | None) -> None:
    rule = parse_cidr(text)
    assert (str(rule.network), rule.port) == (network, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.1.2.3/16", r"write that, or the address alone"),
        ("example.com", "no network"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.0/8:", "a port is"),
        ("10.0.0.0/8:x", "a port is"),
        ("10.0.0.0/8:70000", "a port is"),
        ("[2001:db8::/32]x443y", "a port is"),
        ("2001:db8::/32:443", "no network"),
        ("127.0.0.2/32", "can never be reached"),
        ("127.0.0.0/8", "can never be reached"),
        ("::1", "can never be reached"),
        ("169.254.169.254", "can never be reached"),
        ("fe80::/64", "can never be reached"),
        ("198.18.3.0/24", "can never be reached"),
        ("fd00:ec2::254", "can never be reached"),
    ],
)
def test_what_is_no_network_that_can_be_had_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_cidr(text)


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    for parse in (parse_host, parse_cidr):
        try:
            parse(text)
        except ValueError as exc:
            said = str(exc)
            assert repr(text) in said


@pytest.mark.parametrize(
    ("kind", "addresses"),
    [
        ("public", "1.1.1.1 203.0.113.9 2606:4700::1111 64:ff9b::101:101 2002:101:101::1"),
        (
            "private",
            "10.0.0.1 172.31.255.255 192.168.1.1 100.64.0.1 fd12::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::",
        ),
        (
            "never",
            """0.0.0.0 127.0.0.1 127.9.9.9 169.254.169.254 224.0.0.1 255.255.255.255 240.0.0.1 198.18.0.1 :: ::1 fe80::1
            ff02::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::ffff:169.254.169.254 168.63.129.16
            100.100.100.200 fd00:ec2::254 2001:0:7f00:1:: ::127.0.0.1""",
        ),
    ],
)
def test_addresses_are_told_apart_also_where_one_carries_another(kind: str, addresses: str) -> None:
    assert {text: kind_of(ip_address(text)) for text in addresses.split()} == dict.fromkeys(addresses.split(), kind)


def test_a_wide_network_does_not_name_private_addresses() -> None:
    everything, inside = parse_cidr("0.0.0.0/0"), parse_cidr("10.0.0.0/8:5432")
    assert everything.covers(ip_address("1.1.1.1"), 443)
    assert not everything.covers(ip_address("10.0.0.1"), 443)
    assert not parse_cidr("8.0.0.0/5").covers(ip_address("10.0.0.1"), 443)  # 8.0.0.0 to 15.255.255.255
    assert inside.covers(ip_address("10.2.3.4"), 5432)
    assert not inside.covers(ip_address("10.2.3.4"), 443)
    assert not inside.covers(ip_address("::ffff:10.2.3.4"), 5432)  # callers make it plain first
    assert inside.covers(plain(ip_address("::ffff:10.2.3.4")), 5432)


def test_choices_become_rules() -> None:
    assert allowed("deny") is None
    assert allowed("open") is EVERYTHING
    some = EgressAllow(hosts=["a.example"], cidrs=["192.0.2.0/24"])
    assert allowed(some) is some
    rules = parse_rules(some)
    assert rules.hosts == (HostRule("a.example"),)
    assert rules.cidrs == (CidrRule(parse_cidr("192.0.2.0/24").network),)


def test_networks_between_commas() -> None:
    assert [str(each) for each in parse_networks("10.0.0.0/8, 2001:db8::/32,")] == ["10.0.0.0/8", "2001:db8::/32"]
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        parse_networks("10.0.0.0/99")
