"""Training on what the platform itself has counted: from calls to a version that a live forecaster picks up."""

import time
from pathlib import Path

import numpy
import pytest

from isotherm.db.places import open_databases
from isotherm.forecast.live import LiveForecasts
from isotherm.forecast.members import Cost
from isotherm.forecast.versions import Versions
from isotherm.records import store
from isotherm.wire.telemetry import MinuteAggregate
from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MINUTES = 1200
NAMES = ("busy", "busier")


def counted(folder: Path, now: int) -> None:
    """Twenty hours of minutes, as hosts have told them; of two revisions in the middle."""
    rng = numpy.random.default_rng(1)
    rows = [
        MinuteAggregate(
            namespace="trained",
            name=name,
            revision_id=f"{name}-{revision}",
            minute=now - ago,
            count=int(rng.poisson(30 * (1 + index) * (1 + 0.6 * numpy.sin(2 * numpy.pi * (now - ago) / 480)))),
            outcomes={},
            cold={},
            latency=[],
            total_ms=0.0,
            run_ms=0.0,
            queue_ms=0.0,
        )
        for index, name in enumerate(NAMES)
        for ago in range(MINUTES, 10, -1)
        for revision in ((1, 2) if 500 < ago < 600 else (1,))
    ]
    databases = open_databases(folder, None)
    try:
        for start in range(0, len(rows), 400):
            with databases.records.write() as session:
                store.put_minutes(session, rows[start : start + 400])
    finally:
        databases.close()


def test_a_network_is_trained_on_the_platforms_own_counts(platform: Platform, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    out = tmp_path / "models"
    arguments = ["train", "--own", "--namespace", "trained", "--days", "2", "--out", str(out), "--json"]
    arguments += ["--epochs", "1", "--samples", "256"]
    assert platform.cli("namespaces", "create", "trained").code == 0
    nothing = platform.cli(*arguments)
    assert nothing.code != 0
    assert "no calls were counted in the last 2 days" in nothing.err + nothing.out
    now = int(time.time() // 60)
    counted(platform.folder / "data", now)
    ran = platform.cli(*arguments)
    assert ran.code == 0, ran.err
    assert "Warning" not in ran.err
    assert "2 functions, 0.8 days" in ran.err
    (data,) = ran.json["record"]["data"]
    assert (data["name"], data["series"]) == ("own", 2)
    assert now - MINUTES <= data["first_minute"] <= now - MINUTES + 2
    versions = Versions(out)
    assert versions.numbers() == [1]
    if versions.current() is None:  # one epoch on so little seldom beats what ships: the gate is what decides
        assert not ran.json["record"]["gate"]["promoted"]
        versions.promote(1)
    live = LiveForecasts(out, now, limit=1, cost=Cost(arima=0, lstm=1))
    assert live.version == out / "1"
    assert live.problem == ""
    with_trace = tmp_path / "trace.csv"
    columns = ",".join(str(minute) for minute in range(1, 1441))
    with_trace.write_text(f"HashFunction,{columns}\nx,{','.join(['7', '9'] * 720)}\n")
    both = platform.cli(*arguments, str(with_trace))
    assert both.code == 0, both.err
    assert {each["name"] for each in both.json["record"]["data"]} == {"own", "trace.csv"}
