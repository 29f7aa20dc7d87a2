"""Every forecaster by name, made as small as its options allow."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from isotherm.forecast.drivers import hybrid
from isotherm.forecast.port import Forecaster
from isotherm.forecast.registry import DRIVERS, NEEDS, open_forecaster

Open = Callable[[], Forecaster]
SMALL: dict[str, dict[str, Any]] = {"arima": {"workers": 0, "most": 1, "length": 150}, "lstm": {"threads": 1}}


BURN_IN = 30  # minutes: what these tests hold does not hang on how well the weights are learned


@pytest.fixture(autouse=True)
def short_burn_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "BURN_IN", BURN_IN)


def opener(name: str) -> Open:
    options = SMALL if name == "hybrid" else SMALL.get(name, {})
    return lambda: open_forecaster(name, **options)


@pytest.fixture(params=list(DRIVERS))
def opens(request: pytest.FixtureRequest) -> Open:
    """Makes the same forecaster anew each time."""
    needed = NEEDS.get(request.param)
    if needed is not None and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return opener(request.param)
