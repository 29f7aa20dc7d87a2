"""Histories from a platform's own counts."""

import pytest
from typer.testing import CliRunner

from isotherm.base.errors import Invalid
from isotherm.cli.main import app
from isotherm.forecast import own
from isotherm.forecast.own import histories_of


def test_counts_of_one_name_and_minute_add_up_and_a_series_begins_with_its_first() -> None:
    counts = [("a", 102, 1), ("b", 100, 7), ("a", 102, 2), ("a", 104, 5)]
    names, found = histories_of(counts, 100, 105)
    assert names == ("a", "b")
    assert found.counts.tolist() == [[0, 0, 3, 0, 5], [7, 0, 0, 0, 0]]
    assert found.since.tolist() == [2, 0]
    assert (found.first_minute, found.now) == (100, 105)


def test_nothing_is_no_series() -> None:
    names, found = histories_of([], 100, 105)
    assert names == ()
    assert found.counts.shape == (0, 5)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="105"):
        histories_of([("a", 105, 1)], 100, 105)
    monkeypatch.setattr(own, "MAX_CELLS", 10)
    with pytest.raises(Invalid, match="fewer days"):
        histories_of([(f"f{index}", 100, 1) for index in range(3)], 100, 105)


def test_to_train_on_nothing_is_refused() -> None:
    ran = CliRunner().invoke(app, ["train"])
    assert isinstance(ran.exception, Invalid)
    assert "--own" in str(ran.exception)
