"""Prices are dated and say where they are from."""

import datetime

from isotherm.prices.machines import default_machine, machine_prices


def test_every_price_is_dated_has_a_source_and_is_plausible() -> None:
    for price in machine_prices():
        assert price.source.startswith("https://")
        assert datetime.date(2020, 1, 1) < price.as_of < datetime.date(2100, 1, 1)
        assert 1e-7 < price.usd_per_gb_s < 1e-4, "AWS Lambda asks 1.7e-5 USD for a GB·s"


def test_a_gb_second_is_a_share_of_the_machine() -> None:
    price = default_machine()
    assert abs(price.usd_per_gb_s * price.memory_gb * 3600 - price.usd_per_hour) < 1e-12
