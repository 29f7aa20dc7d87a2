"""The latest value of each key, within a bound."""

from isotherm.bus.latest import Latest


def test_the_latest_value_counts_and_the_one_put_longest_ago_makes_room() -> None:
    latest: Latest[str, int] = Latest(limit=2)
    latest.put("a", 1)
    latest.put("b", 2)
    latest.put("a", 3)
    latest.put("c", 4)
    assert (latest.get("a"), latest.get("b"), latest.get("c")) == (3, None, 4)
    latest.drop("a")
    latest.drop("a")
    assert latest.get("a") is None
