"""Decisions of egress: which names are answered, which addresses are connected to. Pure.

Names are decided by rules of hosts alone. What a name resolves to is looked at again, address by address, and the one
that was looked at is the one that is connected to: a name that points elsewhere at the second look gains nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isotherm.egress.model import EgressLimits, Target
from isotherm.wire.egress import Address, Rules, kind_of, plain

__all__ = ["Seen", "any_name", "may_ask", "name_refusal", "permitted", "refusal"]


@dataclass(frozen=True, slots=True)
class Seen:
    """An address, and whether it is one of the machine's that the platform runs on."""

    address: Address
    own: bool


def may_ask(rules: Rules, name: str) -> bool:
    """Whether a name is resolved at all: a query for any other would carry what it likes to its name server."""
    return any(rule.matches(name) for rule in rules.hosts)


def any_name(rules: Rules, port: int) -> bool:
    """Whether all names are allowed on a port."""
    return any(rule.name == "*" and rule.port in (None, port) for rule in rules.hosts)


def name_refusal(rules: Rules, name: str, port: int) -> str | None:
    """Why a name may not be connected to on a port; None where it may."""
    if any(rule.matches(name) and rule.port in (None, port) for rule in rules.hosts):
        return None
    return f'egress to {name}:{port} is not allowed; add "{name}:{port}" to egress.hosts'


def permitted(
    rules: Rules, target: Target, found: Sequence[Seen], limits: EgressLimits
) -> tuple[list[Address], str | None]:
    """The addresses to try, in order, and, where there are none, why: IPv4 first, which works in more places."""
    by_name = isinstance(target.host, str)
    why: str | None = None
    allowed: list[Address] = []
    for seen in sorted(found, key=lambda each: each.address.version):
        reason = refusal(rules, seen, target.port, limits, by_name=by_name)
        if reason is None:
            allowed.append(seen.address)
        elif why is None:
            where = f" (it is {seen.address})" if by_name else ""
            why = f"egress to {target}{where} is not allowed: {reason}"
    return allowed, None if allowed else why


def refusal(rules: Rules, seen: Seen, port: int, limits: EgressLimits, *, by_name: bool) -> str | None:
    """Why an address may not be connected to; None where it may. `by_name`: its name is allowed already."""
    address = plain(seen.address)
    kind = kind_of(address)
    if kind == "never":
        return "it is of this machine, of its link, or set aside; no rule allows that"
    if any(address in network for network in limits.never):
        return "the operator closed that network to all functions"
    if seen.own and port in limits.own_ports:
        return "it is a port of the platform itself"
    rule = f"{f'[{address}]' if address.version == 6 else address}:{port}"
    if seen.own:
        if _names_it(rules, address, port):
            return None
        return f'it is an address of the machine that runs the platform; add "{rule}" to egress.cidrs'
    if kind == "public" and by_name:
        return None
    if any(each.covers(address, port) for each in rules.cidrs):
        return None
    what = "a private address; add its network" if kind == "private" else "not in any of its networks; add it"
    return f'it is {what} to egress.cidrs, such as "{rule}"'


def _names_it(rules: Rules, address: Address, port: int) -> bool:
    """Whether a rule is about this one address: of a wider one, its writer may not have thought of this machine."""
    return any(rule.covers(address, port) and rule.network.num_addresses == 1 for rule in rules.cidrs)
