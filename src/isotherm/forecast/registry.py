"""The forecasters by name. Choosing one imports it; a missing library says which extra has it."""

import importlib
from importlib.util import find_spec
from typing import Any, Final

from isotherm.base.errors import Invalid, Unavailable
from isotherm.forecast.port import Forecaster

__all__ = ["DRIVERS", "members_of_hybrid", "open_forecaster"]

_drivers: Final = "isotherm.forecast.drivers"
DRIVERS: Final = {
    "seasonal_naive": f"{_drivers}.seasonal_naive:SeasonalNaive",
    "smoothing": f"{_drivers}.smoothing:Smoothing",
    "periodic": f"{_drivers}.periodic:Periodic",
    "histogram": f"{_drivers}.histogram:Histogram",
    "arima": f"{_drivers}.arima:Arima",
    "lstm": f"{_drivers}.lstm:Lstm",
    "hybrid": f"{_drivers}.hybrid:Hybrid",
}
NEEDS: Final = {"arima": "statsforecast", "lstm": "onnxruntime"}


def open_forecaster(name: str, **options: Any) -> Forecaster:
    """A forecaster that has seen nothing yet. Raises `Invalid`, `Unavailable`.

    `hybrid` mixes all whose libraries are installed; its options are its members', by name: `arima={"workers": 0}`.
    """
    if name not in DRIVERS:
        raise Invalid(f"no forecaster {name!r}; there are {', '.join(DRIVERS)}")
    module, _, kind = DRIVERS[name].partition(":")
    needed = NEEDS.get(name)
    if needed is not None and find_spec(needed) is None:
        raise Unavailable(f"the forecaster {name} needs {needed}: pip install 'isotherm[forecast]'")
    if name == "hybrid":
        unknown = set(options) - set(DRIVERS)
        if unknown:
            raise Invalid(f"hybrid has no members {', '.join(sorted(unknown))}")
        options = {"members": [open_forecaster(each, **options.get(each, {})) for each in members_of_hybrid()]}
    found: Forecaster = getattr(importlib.import_module(module), kind)(**options)
    return found


def members_of_hybrid() -> list[str]:
    """The naive one first; those that need a library where it is there."""
    return [
        name for name in DRIVERS if name != "hybrid" and (NEEDS.get(name) is None or find_spec(NEEDS[name]) is not None)
    ]
