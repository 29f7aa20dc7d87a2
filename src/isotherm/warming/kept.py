"""What the policy keeps over a restart, beside the calls, which records have: prices, measurements, what is fresh."""

from typing import Final

import msgspec
import numpy

from isotherm.warming.accounts import Accounts
from isotherm.warming.catalog import Catalog
from isotherm.warming.groups import GroupBook
from isotherm.warming.measured import Measured
from isotherm.warming.model import Doubles

__all__ = ["dump", "load"]

MOST_GROUPS: Final = 256  # whose prices are kept: 2 kB each; others find theirs anew


class KeptGroup(msgspec.Struct, frozen=True):
    """Of one group; the arrays are float32, little-endian."""

    credit: float
    income: float
    spends: bytes
    calls: bytes
    active: float
    cold: float


class Kept(msgspec.Struct, frozen=True):
    """By workload: `measured`, instance GB, template GB, cold s, template s; `fresh`, the minute up to which what its
    deploy has made ready waits for a first call."""

    groups: dict[str, KeptGroup]
    weight: float
    minutes: float
    measured: dict[str, tuple[float, float, float, float]]
    fresh: dict[str, int] = {}


def dump(accounts: Accounts, book: GroupBook, measured: Measured, catalog: Catalog) -> bytes:
    shadow, cold = accounts.shadow, accounts.cold
    groups = {
        name: KeptGroup(
            float(accounts.credit[number]),
            float(shadow.income[number]),
            _packed(shadow.spends[number]),
            _packed(cold.calls[number]),
            float(cold.active[number]),
            float(cold.seen_cold[number]),
        )
        for number, name in enumerate(book.names[: min(MOST_GROUPS, len(accounts.credit))])
    }
    rows = {
        entry.route.workload_id: (
            float(measured.instance_gb[entry.row]),
            float(measured.template_gb[entry.row]),
            float(measured.cold_s[entry.row]),
            float(measured.template_s[entry.row]),
        )
        for entry in catalog
    }
    fresh = {each.route.workload_id: each.fresh_until for each in catalog if each.fresh_until is not None}
    return msgspec.msgpack.encode(Kept(groups, shadow.weight, shadow.minutes, rows, fresh))


def load(body: bytes, accounts: Accounts, book: GroupBook, measured: Measured, catalog: Catalog) -> None:
    """Into groups and workloads that there are still. Raises `msgspec.MsgspecError`, and changes nothing then."""
    kept = msgspec.msgpack.decode(body, type=Kept)
    shadow, cold = accounts.shadow, accounts.cold
    spends = {name: _unpacked(each.spends, shadow.spends.shape[1]) for name, each in kept.groups.items()}
    calls = {name: _unpacked(each.calls, shadow.spends.shape[1]) for name, each in kept.groups.items()}
    shadow.weight, shadow.minutes = kept.weight, kept.minutes
    for number, name in enumerate(book.names):
        each = kept.groups.get(name)
        if each is not None:
            accounts.credit[number], shadow.income[number] = each.credit, each.income
            shadow.spends[number], cold.calls[number] = spends[name], calls[name]
            cold.active[number], cold.seen_cold[number] = each.active, each.cold
    for entry in catalog:
        found = kept.measured.get(entry.route.workload_id)
        if found is not None:
            row = entry.row
            entry.fresh_until = kept.fresh.get(entry.route.workload_id)
            measured.instance_gb[row], measured.template_gb[row] = found[:2]
            measured.cold_s[row], measured.template_s[row] = found[2:]


def _packed(values: Doubles) -> bytes:
    return values.astype("<f4").tobytes()


def _unpacked(body: bytes, count: int) -> Doubles:
    if len(body) != 4 * count:
        raise msgspec.ValidationError(f"{len(body)} bytes of prices where {4 * count} were expected")
    return numpy.frombuffer(body, "<f4").astype(float)
