"""Which members a mixture beside a platform at work has: those that are installed, at a cost that it can bear."""

from dataclasses import dataclass
from typing import Final

from isotherm.base.errors import Unavailable
from isotherm.forecast.drivers.windowed import Windowed
from isotherm.forecast.registry import DRIVERS, open_forecaster

__all__ = ["Cost", "open_members"]

ALL_MEMBERS: Final = 1500  # series up to which none is left out


@dataclass(frozen=True, slots=True)
class Cost:
    """`arima`, `lstm`: how many of the busiest series these forecast; 0 leaves them out.

    One worker process fits one series at a time, one every three minutes: a fit takes about a second, and a tick of a
    thousand series a sixth to a third of one (`docs/guides/forecast.md`).
    """

    arima: int
    lstm: int

    @classmethod
    def of(cls, series: int) -> "Cost":
        """What keeps a minute under half a second of CPU, as long as the other members do."""
        return cls(arima=100 if series <= ALL_MEMBERS else 0, lstm=300 if series <= ALL_MEMBERS else 0)


def open_members(cost: Cost) -> tuple[list[Windowed], dict[str, str]]:
    """The members, the naive one first, and why others are left out, by name."""
    options: Final = {
        "arima": {"most": cost.arima, "workers": 1, "in_flight": 1, "fit_every": 3},
        "lstm": {"most": cost.lstm, "threads": 1},
    }
    members: list[Windowed] = []
    left_out: dict[str, str] = {}
    for name in DRIVERS:
        if name == "hybrid":
            continue
        if options.get(name, {}).get("most") == 0:
            left_out[name] = "turned off: with so many series it would cost too much"
            continue
        try:
            member = open_forecaster(name, **options.get(name, {}))
        except Unavailable as exc:
            left_out[name] = str(exc)
            continue
        assert isinstance(member, Windowed)
        members.append(member)
    return members, left_out
