"""Addresses that stand for names within one revision: what its resolver answers, and a connection is then made to.

An address is made from the name itself, so that a new life of the process gives the same name the same address.
"""

import zlib
from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address

from isotherm.wire.egress import SYNTHETIC, Address

__all__ = ["NameTable"]

_FIRST = int(SYNTHETIC.network_address) + 256
_COUNT = SYNTHETIC.num_addresses - 512
MAX_NAMES = 4096


class NameTable:
    """The names asked for last, at most `limit`. Those of `fixed` are known from the start."""

    def __init__(self, fixed: Iterable[str] = (), limit: int = MAX_NAMES) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()
        self._limit = limit
        for name in fixed:
            self.address_of(name)

    def address_of(self, name: str) -> IPv4Address:
        index = zlib.crc32(name.encode()) % _COUNT
        while self._names.get(index, name) != name:
            index = (index + 1) % _COUNT
        if index not in self._names and len(self._names) >= self._limit:
            self._names.popitem(last=False)
        self._names[index] = name
        self._names.move_to_end(index)
        return IPv4Address(_FIRST + index)

    def name_of(self, address: Address) -> str | None:
        """None: never given out, or so long ago that it was forgotten."""
        return self._names.get(int(address) - _FIRST) if address in SYNTHETIC else None
