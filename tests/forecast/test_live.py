"""Forecasts beside a platform at work: series come and go, versions are picked up, nothing of the former is left."""

import time
from pathlib import Path

import numpy
import pytest

from isotherm.base.errors import Invalid, Unavailable
from isotherm.forecast import members
from isotherm.forecast.live import LiveForecasts
from isotherm.forecast.members import Cost
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.versions import SHIPPED, Versions, models_folder

DAY = 1440
NOW = 29_540_160
NUMPY_ALONE = Cost(arima=0, lstm=0)


def opened(folder: Path, limit: int = 6, cost: Cost = NUMPY_ALONE, keep_minutes: int = 2 * DAY) -> LiveForecasts:
    return LiveForecasts(folder, NOW, limit=limit, cost=cost, keep_minutes=keep_minutes)


def poisson(level: float, minutes: int, seed: int = 1) -> Floats:
    return numpy.random.default_rng(seed).poisson(level, minutes).astype(numpy.float32)


def go_on(live: LiveForecasts, series: dict[str, Floats]) -> None:
    for column in range(len(next(iter(series.values())))):
        live.observe(live.now, list(series), numpy.array([counts[column] for counts in series.values()]))


def test_it_learns_what_comes_and_says_how_good_it_was(tmp_path: Path) -> None:
    live = opened(tmp_path)
    timer = (numpy.arange(200) % 10 == 3).astype(numpy.float32)
    go_on(live, {"busy": poisson(50, 200), "timer": timer})
    foreseen = live.predict(10)
    assert foreseen.names == live.names == ("busy", "timer")
    assert foreseen.prediction.first_minute == NOW + 200
    busy, timed = foreseen.prediction.mean[0], foreseen.prediction.any[1]
    assert busy.mean() == pytest.approx(50, rel=0.15)
    assert timed[3] > 0.8
    assert numpy.delete(timed, 3).max() < 0.2
    found = live.quality("busy")
    assert {"mase_10", "mape_10", "rmse_60", "pinball_60", "coverage_10", "r2_60"} <= set(found)
    assert 0.05 < found["mape_10"] < 0.3
    assert 0.6 < found["coverage_10"] < 0.99
    assert "mape_10" not in live.quality("timer")  # it has minutes without an arrival
    in_all = live.quality_in_all()
    assert in_all["judged_60"] == pytest.approx(found["judged_60"] + live.quality("timer")["judged_60"])
    assert live.quality_in_all("smoothing")["rmse_10"] > 0
    with pytest.raises(Invalid, match="no member 'lstm'"):
        live.quality_in_all("lstm")
    with pytest.raises(Invalid, match="not among the 2"):
        live.quality("other")


def test_a_row_that_is_used_again_knows_nothing_of_the_former(tmp_path: Path) -> None:
    """A series in a row that was another's is forecast, and judged, as in a row that was nobody's."""
    used, fresh = opened(tmp_path, limit=2), opened(tmp_path, limit=2)
    go_on(used, {"stays": poisson(9, 80), "left": poisson(3000, 80, seed=2)})
    go_on(fresh, {"stays": poisson(9, 80)})
    used.leave(["left", "never known"])
    assert used.names == ("stays",)
    later = {"stays": poisson(9, 90, seed=3), "new": poisson(4, 90, seed=4)}
    go_on(used, later)
    go_on(fresh, later)
    one, other = used.predict(60), fresh.predict(60)
    assert one.names == other.names == ("stays", "new")
    for kind in ("mean", "quantiles", "any"):
        mine, theirs = getattr(one.prediction, kind)[1], getattr(other.prediction, kind)[1]
        assert numpy.allclose(mine, theirs, atol=1e-4), kind
    assert used.quality("new") == pytest.approx(fresh.quality("new"), rel=1e-4)


def test_what_was_said_of_the_former_is_not_held_against_the_next(tmp_path: Path) -> None:
    live = opened(tmp_path, limit=1)
    go_on(live, {"loud": poisson(5000, 70)})
    live.leave(["loud"])
    go_on(live, {"soft": poisson(3, 30, seed=2)})
    assert live.quality("soft")["rmse_10"] < 10
    assert "rmse_60" not in live.quality("soft")  # nothing was said of it an hour ago
    assert live.predict(60).prediction.quantiles.max() < 100


def test_vacant_rows_count_nowhere(tmp_path: Path) -> None:
    few, many = opened(tmp_path, limit=1), opened(tmp_path, limit=20)
    for live in (few, many):
        go_on(live, {"one": poisson(20, 90)})
    assert many.predict(60).prediction.mean.shape == (1, 60)
    assert many.quality_in_all() == pytest.approx(few.quality_in_all(), rel=1e-4)


def test_the_busiest_have_the_rows(tmp_path: Path) -> None:
    live = opened(tmp_path, limit=2)
    go_on(live, {"quiet": poisson(0.2, 60), "busy": poisson(40, 60), "third": poisson(0.1, 60)})
    assert set(live.names) == {"quiet", "busy"}
    go_on(live, {"quiet": poisson(0.2, 60, seed=5), "busy": poisson(40, 60, seed=6), "third": poisson(30, 60)})
    assert set(live.names) == {"third", "busy"}
    assert live.predict(5).prediction.mean[live.names.index("third")].mean() == pytest.approx(30, rel=0.4)


def test_it_goes_on_where_it_was_after_a_restore(tmp_path: Path) -> None:
    minutes = 2 * DAY
    shape = 60 + 50 * numpy.sin(2 * numpy.pi * numpy.arange(minutes) / DAY)
    counts = numpy.stack([poisson(1, minutes), numpy.random.default_rng(2).poisson(shape), poisson(5, minutes, seed=3)])
    live = opened(tmp_path, limit=2)
    histories = Histories(counts.astype(numpy.float32), NOW - minutes, numpy.array([0, 0, minutes - 600], numpy.int32))
    live.restore(["idle", "daily", "young"], histories)
    assert live.names == ("daily", "young")
    assert live.now == NOW
    foreseen = live.predict(360)
    assert foreseen.prediction.mean[0, -60:].mean() == pytest.approx(shape[300:360].mean(), rel=0.25)
    assert live.quality("daily")["judged_10"] > 0  # weights come from the last two hours
    live.observe(NOW, ["daily"], numpy.array([60.0]))
    with pytest.raises(Invalid, match="2 names"):
        live.restore(["a", "a"], Histories(counts[:2].astype(numpy.float32), 0, numpy.zeros(2, dtype=numpy.int32)))


def test_minutes_that_were_left_out_pass_without_arrivals(tmp_path: Path) -> None:
    live = opened(tmp_path)
    go_on(live, {"one": poisson(30, 90)})
    before = live.now
    live.observe(before + 5, ["one"], numpy.array([30.0]))
    assert live.now == before + 6
    live.observe(live.now + 3 * DAY, ["one"], numpy.array([30.0]))  # longer than what is kept
    assert live.names == ("one",)
    assert live.predict(1).prediction.mean[0, 0] < 30


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    live = opened(tmp_path)
    go_on(live, {"one": poisson(30, 20)})
    for names, counts in ((["one"], [1.0, 2.0]), (["one"], [-1.0]), (["one"], [float("nan")])):
        with pytest.raises(Invalid):
            live.observe(live.now, names, numpy.array(counts))
    with pytest.raises(Invalid, match="is over"):
        live.observe(live.now - 1, ["two"], numpy.array([1.0]))
    assert live.now == NOW + 20
    assert live.names == ("one",)


def test_members_that_are_not_installed_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = members.open_forecaster

    def bare(name: str, **options: object) -> object:
        if name in ("arima", "lstm"):
            raise Unavailable(f"the forecaster {name} needs more: pip install 'isotherm[forecast]'")
        return whole(name, **options)

    monkeypatch.setattr(members, "open_forecaster", bare)
    live = opened(tmp_path, cost=Cost(arima=2, lstm=2))
    assert live.members == ["seasonal_naive", "smoothing", "periodic", "histogram"]
    assert "isotherm[forecast]" in live.left_out["arima"]
    go_on(live, {"one": poisson(30, 5)})
    assert live.predict(5).prediction.mean.shape == (1, 5)


def test_with_very_many_series_dear_members_are_turned_off() -> None:
    assert Cost.of(1000).arima > 0
    assert Cost.of(50_000) == Cost(arima=0, lstm=0)


def test_versions_are_looked_for_where_the_setting_says(tmp_path: Path) -> None:
    assert models_folder("", tmp_path) == tmp_path / "models"
    assert models_folder("/srv/versions", tmp_path) == Path("/srv/versions")


def put_version(folder: Path, number: int, onnx: bytes | None = None) -> None:
    place = folder / str(number)
    place.mkdir(parents=True)
    for name in ("model.onnx", "record.json"):
        (place / name).write_bytes((SHIPPED / name).read_bytes())
    if onnx is not None:
        (place / "model.onnx").write_bytes(onnx)


def test_a_version_that_is_promoted_meanwhile_is_picked_up_and_a_broken_one_is_not(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    live = opened(tmp_path / "models", limit=1, cost=Cost(arima=0, lstm=1))
    go_on(live, {"one": poisson(30, 5)})
    assert (live.version, live.problem) == (None, "")
    versions = Versions(tmp_path / "models")
    put_version(tmp_path / "models", 1)
    versions.promote(1)
    go_on(live, {"one": poisson(30, 6)})
    assert live.version == tmp_path / "models" / "1"
    put_version(tmp_path / "models", 2, b"other")
    versions.promote(2)
    go_on(live, {"one": poisson(30, 6)})
    assert live.version == tmp_path / "models" / "1"
    assert "train again" in live.problem
    versions.promote(1)
    go_on(live, {"one": poisson(30, 6)})
    assert live.problem == ""


@pytest.mark.slow
def test_arima_joins_from_a_worker_process(tmp_path: Path) -> None:
    pytest.importorskip("statsforecast")
    live = opened(tmp_path, limit=1, cost=Cost(arima=1, lstm=0))
    try:
        live.restore(["one"], Histories(poisson(30, 500)[None], NOW - 500, numpy.zeros(1, dtype=numpy.int32)))
        deadline = time.monotonic() + 90
        while "rmse_10" not in live.quality_in_all("arima") and time.monotonic() < deadline:
            go_on(live, {"one": poisson(30, 1)})
            time.sleep(0.1)
        assert live.quality_in_all("arima")["rmse_10"] < 30
    finally:
        live.close()
