"""What egress needs of the world outside: names turned into addresses, and to know which are the machine's own."""

from typing import Protocol

from isotherm.wire.egress import Address

__all__ = ["NameNotFound", "NamesUnavailable", "Resolver"]


class NameNotFound(Exception):
    """There is no such name, or it has no address."""


class NamesUnavailable(Exception):
    """No name server answered; the message says what happened."""


class Resolver(Protocol):
    async def addresses(self, name: str) -> list[Address]:
        """Of both families, at least one. Raises `NameNotFound`, `NamesUnavailable`."""
