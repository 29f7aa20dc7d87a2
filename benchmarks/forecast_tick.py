"""In a process of its own: ticks of the mixture over many series; prints what they took as one line of JSON.

python -m benchmarks.forecast_tick SERIES TICKS
"""

import json
import resource
import sys
import time

import numpy

from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.registry import members_of_hybrid, open_forecaster

DAY = 1440
HORIZON = 60


def demand(n: int, minutes: int, seed: int = 1) -> Floats:
    """As functions are: half of them timers, most of the others sparse, a few per cent busy the whole day."""
    rng = numpy.random.default_rng(seed)
    counts = numpy.zeros((n, minutes), dtype=numpy.float32)
    kind = rng.choice(3, n, p=(0.5, 0.45, 0.05))
    periods = rng.choice((1, 5, 10, 15, 30, 60), n)
    phases = rng.integers(0, 60, n)
    rates = 10 ** rng.uniform(-4, -0.5, n)
    levels = 10 ** rng.uniform(0, 3, n)
    for minute in range(minutes):
        shape = 1 + 0.6 * numpy.sin(2 * numpy.pi * minute / DAY)
        timers = (minute + phases) % periods == 0
        sparse = rng.random(n) < rates * shape
        busy = rng.poisson(levels * shape)
        counts[:, minute] = numpy.select([kind == 0, kind == 1], [timers, sparse], busy)
    return counts


def main() -> None:
    n, ticks = int(sys.argv[1]), int(sys.argv[2])
    counts = demand(n, DAY + 300 + ticks)
    forecaster = open_forecaster("hybrid")
    known = counts.shape[1] - ticks
    began = time.perf_counter()
    forecaster.fit(Histories(counts[:, :known], 29_540_160, numpy.zeros(n, dtype=numpy.int32)))
    fit_s = time.perf_counter() - began
    fresh = counts[:, known:].copy()
    del counts
    took = []
    for tick in range(ticks):
        began, cpu = time.perf_counter(), time.process_time()
        forecaster.update(fresh[:, tick : tick + 1])
        updated = time.perf_counter()
        prediction = forecaster.predict(HORIZON)
        ended = time.perf_counter()
        took.append([updated - began, ended - updated, time.process_time() - cpu])
        assert prediction.any.shape == (n, HORIZON)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    workers_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    forecaster.close()  # type: ignore[attr-defined]  # of the mixture, which this is
    found = {
        "fit_s": fit_s,
        "ticks_s": took,
        "peak_mb": peak_mb,
        "workers_mb": workers_mb,
        "members": members_of_hybrid(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
