"""The stand-in: it sleeps and holds what its percentiles say."""

import importlib.util
import io
import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.replay import standin
from isotherm.replay.model import Distribution
from isotherm.replay.platform import stand_in_package

POINTS = [[0.0, 2.0], [25.0, 4.0], [50.0, 4.0], [99.0, 20.0], [100.0, 100.0]]


def load(points_ms: list[list[float]] = POINTS) -> ModuleType:
    path = Path(next(iter(standin.__path__))) / "app.py"
    spec = importlib.util.spec_from_file_location("standin_app", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STANDIN_DURATION_MS", json.dumps(points_ms))
        patch.setenv("STANDIN_MEMORY_MB", json.dumps([[0, 1], [100, 3]]))
        spec.loader.exec_module(module)
    return module


app = load()


@pytest.mark.parametrize(
    ("u", "value"),
    [(0, 2.0), (0.125, 3.0), (0.25, 4.0), (0.4, 4.0), (0.99, 20.0), (0.995, 60.0), (1, 100.0), (9, 100.0)],
)
def test_draws_by_the_inverse_of_the_distribution(u: float, value: float) -> None:
    assert app.draw(POINTS, u) == pytest.approx(value)


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_is_never_less(a: float, b: float) -> None:
    assert app.draw(POINTS, min(a, b)) <= app.draw(POINTS, max(a, b))


def test_even_draws_have_the_distributions_mean() -> None:
    draws = [app.draw(POINTS, (index + 0.5) / 10_000) for index in range(10_000)]
    assert sum(draws) / len(draws) == pytest.approx(Distribution(tuple(map(tuple, POINTS))).mean, rel=1e-3)  # type: ignore[arg-type]  # pairs of floats


def test_sleeps_and_holds_what_it_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    naps: list[float] = []
    monkeypatch.setattr(module.time, "sleep", naps.append)

    first = module.handler({"u": 0.125, "v": 0.5}, None)
    second = module.handler({"u": 0.99, "v": 0.0}, None)

    assert naps == pytest.approx([0.003, 0.020])
    assert first == {"slept_ms": 3.0, "held_mb": 2.0}
    assert second["held_mb"] == 2.0  # an instance does not give back
    assert sum(len(block) for block in module.held) == 2 * 1024 * 1024


def test_answers_in_pieces_with_the_sleep_spread_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    naps: list[float] = []
    monkeypatch.setattr(module.time, "sleep", naps.append)

    lines = module.handler({"u": 0.99, "v": 0.5, "pieces": 4}, None)

    assert next(lines) == {"piece": 1}
    assert naps == pytest.approx([0.005])
    rest = list(lines)
    assert rest == [{"piece": 2}, {"piece": 3}, {"slept_ms": 20.0, "held_mb": 2.0}]
    assert naps == pytest.approx([0.005] * 4)


def test_an_instance_shows_its_function_from_its_first_call_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "replay-0007-0123456789")
    module = load()
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    assert module.mark is None
    module.handler({}, None)
    first = module.mark
    module.handler({}, None)
    assert module.mark is first is not None
    with first:
        assert Path(f"/proc/self/fd/{first.fileno()}").readlink() == Path("/tmp/replay-0007-0123456789 (deleted)")


def test_without_a_draw_chance_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    drawn = {module.handler({}, None)["slept_ms"] for _ in range(20)}
    assert len(drawn) > 1
    assert all(2.0 <= value <= 100.0 for value in drawn)


def test_the_package_is_the_same_bytes_each_time() -> None:
    first, second = stand_in_package(), stand_in_package()
    assert first == second
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["app.py"]
        assert b"def handler(" in archive.read("app.py")


def test_points_that_are_no_distribution_are_refused() -> None:
    good = ((0.0, 1.0), (50.0, 2.0), (100.0, 2.0))
    assert Distribution(good).scaled(0.5).points == ((0.0, 0.5), (50.0, 1.0), (100.0, 1.0))
    bad = [good[:2], good[1:], (good[0], good[2], good[1]), ((0.0, 3.0), (100.0, 2.0)), ((0.0, -1.0), (100.0, 2.0))]
    for points in bad:
        with pytest.raises(ValueError, match="must"):
            Distribution(points)
