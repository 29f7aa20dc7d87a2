"""Summaries of latencies: as exact as they say, and parts of a whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.replay.sketch import ACCURACY, PARTS, cells, parts_of, spread, value_of

times = st.lists(st.floats(0.002, 1e6), min_size=1, max_size=300)


@given(times, st.sampled_from([1, 50, 90, 99, 100]))
def test_a_percentile_from_the_buckets_is_as_exact_as_said(values: list[float], percent: int) -> None:
    made = cells(np.arange(len(values)) % PARTS, np.array(values))
    buckets = sorted(bucket for part in made for bucket, count in part.items() for _ in range(count))
    rank = max(1, int(np.ceil(len(values) * percent / 100)))
    found = value_of(np.array(buckets))[rank - 1]
    assert found == pytest.approx(np.percentile(values, percent, method="inverted_cdf"), rel=ACCURACY * 1.001)


@given(times)
def test_no_value_is_lost(values: list[float]) -> None:
    made = cells(np.zeros(len(values), dtype=np.int64), np.array(values))
    assert len(made) == PARTS
    assert sum(made[0].values()) == len(values)


def test_nothing_is_nothing() -> None:
    assert cells(np.zeros(0, dtype=np.int64), np.zeros(0)) == []
    assert spread(np.zeros(0)).p99 == 0


@given(st.lists(st.floats(0, 120), min_size=1), st.floats(0.1, 100))
def test_every_moment_lies_in_a_part(at_s: list[float], length_s: float) -> None:
    parts = parts_of(np.array(at_s), length_s)
    assert parts.min() >= 0
    assert parts.max() < PARTS
    assert np.all(np.diff(parts[np.argsort(at_s, kind="stable")]) >= 0)
