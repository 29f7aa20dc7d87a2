"""What machines cost: a dated table that ships with the package."""

import datetime
import importlib.resources
from functools import cache

import msgspec

__all__ = ["MachinePrice", "default_machine", "machine_prices"]


class MachinePrice(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's price, with where it is from and of when."""

    name: str
    usd_per_hour: float
    memory_gb: float
    cpus: float
    as_of: datetime.date
    source: str

    @property
    def usd_per_gb_s(self) -> float:
        """What one GB of its memory costs a second, its share of CPU included."""
        return self.usd_per_hour / self.memory_gb / 3600


class _Table(msgspec.Struct, frozen=True):
    machine: list[MachinePrice]


@cache
def machine_prices() -> tuple[MachinePrice, ...]:
    """All of `machines.toml`, in its order."""
    text = importlib.resources.files("isotherm.prices").joinpath("machines.toml").read_bytes()
    return tuple(msgspec.toml.decode(text, type=_Table).machine)


def default_machine() -> MachinePrice:
    """What costs are told at, where nothing else is said."""
    return machine_prices()[0]
