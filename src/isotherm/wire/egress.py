"""Where a revision may connect to, as manifest and wire write it, and what addresses are to the platform. Pure.

A rule by host names a host and, after a colon, a port; one by CIDR a network and a port. Without a port: any.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "EVERYTHING",
    "SYNTHETIC",
    "Address",
    "CidrRule",
    "EgressAllow",
    "EgressChoice",
    "HostRule",
    "Kind",
    "Network",
    "Rules",
    "allowed",
    "kind_of",
    "parse_cidr",
    "parse_host",
    "parse_networks",
    "parse_rules",
    "plain",
]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Kind = Literal["public", "private", "never"]

SYNTHETIC = IPv4Network("198.18.0.0/15")  # addresses that stand for names; set aside for benchmarks, so nobody's

_label = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_host = re.compile(rf"(?P<name>\*|(?:\*\.)?{_label}(?:\.{_label})*)(?::(?P<port>[0-9]{{1,5}}))?\Z")
_MAX_NAME = 253

# This machine, its links, groups of machines, and where clouds answer any machine with its own credentials.
_never: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", str(SYNTHETIC),
        "168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32",
        "::/127", "fe80::/10", "ff00::/8", "2001::/32", "fd00:ec2::/32", "fd20:ce::/32",
    )
)  # fmt: skip
_private: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "fc00::/7", "fec0::/10", "64:ff9b:1::/48",
    )
)  # fmt: skip
_carriers = ((IPv6Network("64:ff9b::/96"), 0), (IPv6Network("2002::/16"), 80), (IPv6Network("::/96"), 0))


class EgressAllow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a function may reach; all else is refused."""

    hosts: Annotated[
        list[Annotated[str, Meta(max_length=260)]],
        Meta(max_length=64, description="Host names, such as api.example.com, *.example.org:443 or *"),
    ] = msgspec.field(default_factory=list)
    cidrs: Annotated[
        list[Annotated[str, Meta(max_length=64)]],
        Meta(max_length=64, description="Networks, such as 203.0.113.0/24:5432 or [2001:db8::/32]:443"),
    ] = msgspec.field(default_factory=list)


EgressChoice = Literal["deny", "open"] | EgressAllow
EVERYTHING = EgressAllow(hosts=["*"], cidrs=["0.0.0.0/0", "::/0"])  # what "open" stands for


@dataclass(frozen=True, slots=True)
class HostRule:
    """`name` is a host's, `*.` before a domain for all below it, or `*`. `port` None: any."""

    name: str
    port: int | None = None

    def matches(self, name: str) -> bool:
        """`name` in lower case, without a dot at its end."""
        if self.name.startswith("*"):
            return name.endswith(self.name[1:])
        return name == self.name


@dataclass(frozen=True, slots=True)
class CidrRule:
    network: Network
    port: int | None = None

    def covers(self, address: Address, port: int) -> bool:
        """A private address is covered only by a rule about nothing but private ones: 0.0.0.0/0 does not name it."""
        if self.port not in (None, port) or address not in self.network:
            return False
        return kind_of(address) == "public" or any(_inside(self.network, block) for block in _private)


@dataclass(frozen=True, slots=True)
class Rules:
    hosts: tuple[HostRule, ...] = ()
    cidrs: tuple[CidrRule, ...] = ()


def allowed(choice: EgressChoice) -> EgressAllow | None:
    """What a choice allows; None: nothing at all."""
    if isinstance(choice, EgressAllow):
        return choice
    return EVERYTHING if choice == "open" else None


def parse_rules(allow: EgressAllow) -> Rules:
    """Raises `ValueError`, which names the rule and says how to write it."""
    return Rules(tuple(map(parse_host, allow.hosts)), tuple(map(parse_cidr, allow.cidrs)))


def parse_host(text: str) -> HostRule:
    """Raises `ValueError`."""
    found = _host.match(text.lower())
    if found is None or len(found["name"]) > _MAX_NAME:
        raise ValueError(f"{text!r} is no host name; write api.example.com, *.example.com or *, and :PORT for one port")
    if found["name"].rpartition(".")[2].isdigit():
        raise ValueError(f"{text!r} is an address, not a name; it belongs in egress.cidrs")
    return HostRule(found["name"], _parsed_port(text, found["port"]))


def parse_cidr(text: str) -> CidrRule:
    """Raises `ValueError`."""
    written, port = _split(text)
    try:
        network = ip_network(written)
    except ValueError as exc:
        if "host bits" in str(exc):
            whole = ip_network(written, strict=False)
            raise ValueError(f"{text!r} is an address within {whole}; write that, or the address alone") from exc
        raise ValueError(f"{text!r} is no network; write 10.1.0.0/16, 10.1.0.0/16:5432 or [2001:db8::/32]:443") from exc
    if any(_inside(network, block) for block in _never):
        raise ValueError(f"{text!r} can never be reached: it is the machine itself, its link or its cloud's metadata")
    return CidrRule(network, _parsed_port(text, port))


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks between commas. Raises `ValueError`."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def plain(address: Address) -> Address:
    """An IPv4 address that is written as one of IPv6, as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def kind_of(address: Address) -> Kind:
    """What an address is: anybody's, of somebody's own network, or one that no function may reach.

    One of IPv6 that carries one of IPv4 (RFC 4291, 6052, 3056) is what that is.
    """
    address = _carried(plain(address))
    if any(address in network for network in _never):
        return "never"
    return "private" if any(address in network for network in _private) else "public"


def _carried(address: Address) -> Address:
    if isinstance(address, IPv6Address) and int(address) > 1:
        for network, shift in _carriers:
            if address in network:
                return ip_address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def _inside(network: Network, block: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(block, IPv4Network) and network.subnet_of(block)
    return isinstance(block, IPv6Network) and network.subnet_of(block)


def _split(text: str) -> tuple[str, str | None]:
    """Network and port. With a port, IPv6 stands in brackets."""
    if text.startswith("["):
        network, _, rest = text[1:].partition("]")
        return network, rest.removeprefix(":") if rest else None
    if text.count(":") == 1:
        network, _, port = text.partition(":")
        return network, port
    return text, None


def _parsed_port(text: str, digits: str | None) -> int | None:
    if digits is None:
        return None
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits) <= 65535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return int(digits)
