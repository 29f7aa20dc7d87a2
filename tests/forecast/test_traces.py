"""Traces: every layout, and what is refused with its place. The replayer's readers stand on the same parser."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.forecast.tables import read_counts
from isotherm.forecast.traces import read_trace


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", ":1: no column HashFunction"),
        ("HashFunction,b\nx,2\n", ":1: columns named by consecutive minutes"),
        ("HashFunction,1,2,4\nx,0,0,0\n", ":1: columns named by consecutive minutes"),
        ("HashFunction,1,2\nx,0\n", ":2: 3 columns were expected"),
        ("HashFunction,1,2\nx,0,many\n", ":2: minute 2: a count up to 10000000 was expected, not 'many'"),
        ("HashFunction,1,2\nx,,1\n", ":2: minute 1: a count"),
        ("HashFunction,1,2\nx,0,-1\n", ":2: minute 2: a count"),
        ("HashFunction,1,2\nx,0,10000001\n", ":2: minute 2: a count"),
        (f"HashFunction,1,2\nx,0,{'0' * 30}9999999999\n", ":2: minute 2: a count"),
        ("HashFunction,1,2\nx,0,1\nx,0,1\n", ":3: HashFunction is empty or there twice"),
        ("HashFunction,1,2\n", "no rows"),
        ("period,count\n", "no rows"),
        ("period,count\nyesterday,2\n", ":2: 'yesterday' is not a time in ISO 8601"),
        ("period,count\n1998-05-01 00:01:00,2,3\n", ":2: 3 columns"),
        ("period,count\n1998-05-01 00:01:00,2.5\n", ":2: minute count: a count"),
        ("period,count\n1998-05-01 00:01:00,2\n1998-05-01 00:00:00,2\n", ":3: the time is not after"),
    ],
)
def test_a_bad_trace_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(Invalid, match=words) as raised:
        read_trace(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"invocations\.csv: cannot be read"):
        read_trace(tmp_path)
    (tmp_path / "invocations.csv").write_bytes(b"HashFunction,1\n\xff\xfe,1\n" + b"x" * 300)
    with pytest.raises(Invalid, match=r"invocations\.csv: cannot be read"):
        read_trace(tmp_path)


def test_traces_are_read_in_each_layout(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("HashFunction,480,481,482\nx,1,002,3\ny,0,0,9\n")
    found = read_trace(tmp_path / "a.csv")
    assert found.counts.tolist() == [[1, 2, 3], [0, 0, 9]]
    assert found.first_minute % 1440 == 480
    (tmp_path / "b.csv").write_text("period,count\n1970-01-02 00:00:00,4\n1970-01-02T02:02:00+02:00,8\n")
    gap = read_trace(tmp_path / "b.csv")
    assert (gap.first_minute, gap.counts.tolist()) == (1440, [[4, 6, 8]])
    (tmp_path / "invocations.csv").write_text("HashFunction,HashApp,minute_1,minute_2\nx,p,1,2\n")
    assert read_trace(tmp_path).first_minute % 1440 == 0


def test_columns_that_are_no_minutes_are_kept_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("HashOwner,HashFunction,Trigger,480,481\no,x,timer,1,2\n")
    found = read_counts(path)
    assert (found.functions, found.columns, found.first) == (("x",), ("480", "481"), 480)
    assert found.others == ({"HashOwner": "o", "HashFunction": "x", "Trigger": "timer"},)


@given(st.binary(max_size=200) | st.text("HashFunction,0123456789minute_\n -.x", max_size=200).map(str.encode))
def test_any_bytes_are_a_trace_or_invalid(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("trace") / "a.csv"
    path.write_bytes(content)
    try:
        found = read_trace(path)
    except Invalid:
        return
    assert found.counts.size
