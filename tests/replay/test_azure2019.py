"""The reader of Azure's trace: what it gives, and what it says of files that are not as they should be."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.forecast import tables
from isotherm.replay.drivers.azure2019 import read_azure2019
from tests.replay.traces import MEMORY_MB, write_trace


def test_joins_the_three_files(tmp_path: Path) -> None:
    trace = read_azure2019(write_trace(tmp_path / "sample", {"aa": [1, 0, 2], "bb": [0, 0, 5]}))

    assert (trace.name, trace.first_minute, trace.minutes, trace.invocations) == ("sample", 480, 3, 8)
    first = trace.rows[0]
    assert (first.function, first.trigger, first.counts) == ("aa", "http", (1, 0, 2))
    assert first.duration_ms.points[0] == (0.0, 60.0)
    assert first.duration_ms.points[-1] == (100.0, 1200.0)
    # The 0th percentile of memory is not in the data set: the 1st stands for it.
    assert first.memory_mb.points[:2] == ((0.0, 16.0), (1.0, 16.0))
    assert first.memory_mb.largest == MEMORY_MB[-1]


def test_a_window_is_a_part_of_the_minutes(tmp_path: Path) -> None:
    trace = read_azure2019(write_trace(tmp_path, {"aa": [1, 2, 3, 4]})).window(1, 2)

    assert (trace.first_minute, trace.minutes, trace.rows[0].counts) == (481, 2, (2, 3))
    assert trace.window(1, 9).minutes == 1


def break_file(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("invocations.csv", "HashFunction", "Function", "no column HashFunction"),
        ("invocations.csv", "481", "482", "consecutive minutes"),
        ("invocations.csv", "http,1", "http,-1", "a count up to"),
        ("invocations.csv", "http,1", "http,many", "a count up to"),
        ("invocations.csv", "http,1", "http,99999999999", "a count up to"),
        ("invocations.csv", "http,1,", "http,", "columns were expected"),
        ("invocations.csv", "owner,app,bb", "owner,app,aa", "there twice"),
        ("invocations.csv", "owner,app,bb", "owner,app,cc", "missing in durations.csv"),
        ("durations.csv", "percentile_Average_25", "p25", "no column percentile_Average_25"),
        ("durations.csv", "1200\n", "nan\n", "a number from 0 up"),
        ("durations.csv", "1200\n", "1\n", "not fall"),
        ("memory.csv", "64\n", "-1\n", "a number from 0 up"),
    ],
)
def test_says_where_a_file_is_wrong(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    folder = write_trace(tmp_path, {"aa": [1, 0], "bb": [0, 2]})
    break_file(folder, file, old, new)

    with pytest.raises(Invalid, match=said) as raised:
        read_azure2019(folder)
    assert file in raised.value.message


def test_says_what_a_trace_is_where_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="a trace has invocations"):
        read_azure2019(tmp_path)


def test_refuses_files_and_tables_over_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_trace(tmp_path, {"aa": [1], "bb": [2]})
    monkeypatch.setattr(tables, "MAX_ROWS", 1)
    with pytest.raises(Invalid, match="more than 1 rows"):
        read_azure2019(folder)
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(Invalid, match="over the limit of 10"):
        read_azure2019(folder)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_trace_or_invalid(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = write_trace(tmp_path_factory.mktemp("trace"), {"aa": [1]})
    (folder / "durations.csv").write_bytes(content)
    with pytest.raises(Invalid):
        read_azure2019(folder)


def test_reads_the_real_trace() -> None:
    folder = Path(os.environ.get("ISOTHERM_TRACES", "../shared/data")) / "azure_functions_2019" / "hours8"
    if not folder.is_dir():
        pytest.skip(f"no trace at {folder}; ISOTHERM_TRACES names the folder")
    trace = read_azure2019(folder)
    assert (len(trace.rows), trace.minutes, trace.first_minute) == (395, 480, 480)
    assert trace.window(0, 30).invocations == 145_830
