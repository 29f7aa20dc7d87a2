"""Names by DNS: from the machine's own name servers, or the one that the operator set."""

import asyncio
from ipaddress import ip_address
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.resolver

from isotherm.egress.port import NameNotFound, NamesUnavailable
from isotherm.wire.egress import Address, plain

__all__ = ["NameServers", "parse_server"]

TIMEOUT_S = 5.0
CACHED_NAMES = 4096
DNS_PORT = 53
Answer = list[Address] | Exception


class NameServers:
    """See `egress.port.Resolver`. `server` None: those of /etc/resolv.conf; /etc/hosts is not read."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        """Raises `NamesUnavailable` where the machine has no name servers."""
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
        except dns.resolver.NoResolverConfiguration as exc:
            raise NamesUnavailable(f"this machine has no name servers ({exc})") from exc
        if server is not None:
            self._resolver.nameservers, self._resolver.port = [server[0]], server[1]
        self._resolver.cache = dns.resolver.LRUCache(CACHED_NAMES)

    async def addresses(self, name: str) -> list[Address]:
        answers = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
        found = [address for answer in answers if isinstance(answer, list) for address in answer]
        if found:
            return found
        failures = [answer for answer in answers if isinstance(answer, NamesUnavailable)]
        raise failures[0] if failures else NameNotFound(name)

    async def _ask(self, name: str, kind: str) -> Answer:
        """A failure is handed back: that of one family matters only where the other has nothing."""
        try:
            answer: Any = await self._resolver.resolve(
                name + ".", kind, raise_on_no_answer=False, lifetime=TIMEOUT_S, search=False
            )
        except dns.resolver.NXDOMAIN:
            return NameNotFound(name)
        except (dns.exception.DNSException, OSError) as exc:
            return NamesUnavailable(f"no name server answers for it ({type(exc).__name__})")
        return [plain(ip_address(record.address)) for record in answer.rrset or ()]


def parse_server(text: str) -> tuple[str, int]:
    """`ADDRESS` or `ADDRESS:PORT`, IPv6 in brackets where a port follows. Raises `ValueError`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    number = int(port) if port else DNS_PORT
    if not 1 <= number <= 65535:
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return str(ip_address(host)), number
