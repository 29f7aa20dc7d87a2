"""Budgets: how they are written, whose they are, and what may stand in the platform's, a namespace's, a workload's."""

import dataclasses
import re
from dataclasses import dataclass
from typing import Final, Literal, cast

from isotherm.base.errors import Invalid

__all__ = ["Budget", "namespace_budget", "parse_budget", "platform_budget", "workload_budget"]

Kind = Literal["p_cold", "idle", "host"]
Per = Literal["host", "namespace", "workload"]


@dataclass(frozen=True, slots=True)
class Budget:
    """`p_cold`: at most this share of the minutes with calls begins cold. `idle`: at most so many GB·h of idle memory a
    day. Both for each workload, each namespace, or the whole host. `host`: at most so many GB of it held at once."""

    kind: Kind
    amount: float
    per: Per = "host"

    @property
    def gb_minutes_a_minute(self) -> float:
        """What an idle budget allows in one minute."""
        return self.amount * 60 / 1440


_PER: Final = re.compile(r"per\s+\w+\s*$")
_BUDGETS: Final = re.compile(
    r"\s*(?:(?P<kind>p_cold|idle|host)\s*<=\s*(?P<amount>\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(?P<unit>%|GB·?h(?:/day)?|GB)?)\s*(?:per\s+(?P<per>workload|namespace|host))?\s*"
)
_UNITS: Final = {"p_cold": ("%", None), "idle": ("GBh", "GBh/day", "GB·h", "GB·h/day"), "host": ("GB",)}


def parse_budget(text: str) -> Budget:
    """`p_cold <= 1%`, `idle <= 2 GBh/day per namespace`, `host <= 4 GB`. Raises `Invalid`."""
    found = _BUDGETS.fullmatch(text)
    if found is None or found["unit"] not in _UNITS[found["kind"]]:
        raise Invalid(
            f"budget: {text[:60]!r}: 'p_cold <= 1%', 'idle <= 2 GBh/day' or 'host <= 4 GB' was expected, "
            "with 'per workload' or 'per namespace' where it is for each"
        )
    amount = float(found["amount"]) / (100 if found["unit"] == "%" else 1)
    kind = cast(Kind, found["kind"])
    if kind == "p_cold" and amount > 1:
        raise Invalid(f"budget: {text[:60]!r}: a share of at most 100 % was expected")
    if kind == "host" and found["per"] not in (None, "host"):
        raise Invalid(f"budget: {text[:60]!r}: a host's memory is for the host")
    return Budget(kind, amount, cast(Per, found["per"] or "host"))


def platform_budget(text: str) -> Budget | None:
    """`warming_budget` of the settings; None where it is empty: what the keep-alives of all would have spent. Raises
    `Invalid`."""
    return parse_budget(text) if text.strip() else None


def namespace_budget(text: str) -> Budget:
    """`warm_budget` of a namespace's quota, for all its workloads together. Raises `Invalid`."""
    return _own(text, "namespace")


def workload_budget(text: str) -> Budget:
    """`warm.budget` of a workload. Raises `Invalid`."""
    return _own(text, "workload")


def _own(text: str, whose: Per) -> Budget:
    found = parse_budget(text)
    if found.kind == "host":
        raise Invalid(
            f"budget: {text[:60]!r}: a {whose} has no say over a host's memory; 'p_cold <= 1%' or 'idle <= 2 GBh/day' "
            "was expected (the platform's setting warming_budget may say 'host <= 4 GB')"
        )
    if _PER.search(text):
        raise Invalid(f"budget: {text[:60]!r}: it is for the {whose} as a whole: leave out 'per …'")
    return dataclasses.replace(found, per=whose)
