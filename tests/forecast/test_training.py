"""Training by the command line: versions, records, the gate; and what ships."""

import json
from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from isotherm.base.errors import Invalid, NotFound
from isotherm.cli.main import app
from isotherm.forecast.versions import SHIPPED, Versions, read_model

MINUTES = 1440


def write_trace(folder: Path, rows: int = 5) -> Path:
    """Busy series with a shape of their own, as a day of functions."""
    rng = numpy.random.default_rng(1)
    at = numpy.arange(MINUTES)
    lines = ["HashFunction," + ",".join(f"minute_{minute + 1}" for minute in at)]
    for row in range(rows):
        level = 20 * (1 + row) * (1 + 0.6 * numpy.sin(2 * numpy.pi * (at + 90 * row) / 480))
        lines.append(f"f{row}," + ",".join(str(count) for count in rng.poisson(level)))
    folder.mkdir(exist_ok=True)
    (folder / "invocations.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_what_ships_is_small_whole_and_says_what_it_was_trained_on() -> None:
    content, record = read_model(SHIPPED)
    assert len(content) == record.onnx_bytes < 2_000_000
    assert {data.name for data in record.data} == {"worldcup98", "azure_functions_2019/day"}
    assert record.epochs[record.best_epoch].validated == min(epoch.validated for epoch in record.epochs)
    assert "CC-BY" in record.source
    for data in record.data:
        assert data.trained_until < data.validated_until


@pytest.mark.slow
def test_a_version_is_trained_recorded_and_held_against_the_current_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    trace, out = write_trace(tmp_path / "trace"), tmp_path / "models"
    arguments = ["train", str(trace), "--out", str(out), "--epochs", "2", "--samples", "512", "--json"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    record = said["record"]
    assert "epoch 1: trained" in ran.stderr
    assert (record["version"], len(record["epochs"])) == (1, 2)
    assert record["data"][0]["series"] == 5
    assert record["data"][0]["validated_until"] == record["data"][0]["first_minute"] + int(MINUTES * 0.85)
    assert record["gate"]["current_version"] == 1  # the one that ships
    assert record["gate"]["low"] < record["gate"]["high"]
    versions = Versions(out)
    assert versions.numbers() == [1]
    assert (versions.current() is not None) == record["gate"]["promoted"]
    folder = Path(said["folder"])
    _, stored = read_model(folder)
    assert stored.version == 1
    assert stored.gate is not None
    with numpy.load(folder / "checkpoint.npz", allow_pickle=False) as arrays:
        assert sum(arrays[name].size for name in arrays.files) == record["parameters"]
        trained = dict(arrays)
    for k in (1, 2, 5):
        says_the_same(trained, record["hidden"], (folder / "model.onnx").read_bytes(), k)


def says_the_same(trained: dict[str, NDArray[numpy.float32]], hidden: int, exported: bytes, k: int) -> None:
    import onnxruntime
    import torch

    from isotherm.forecast.drivers.lstm_network import Network

    network = Network(hidden)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in trained.items()})
    session = onnxruntime.InferenceSession(exported)
    rng = numpy.random.default_rng(k)
    shapes = {each.name: (k, *each.shape[1:]) for each in session.get_inputs()}
    given = {name: rng.normal(size=shape).astype(numpy.float32) for name, shape in shapes.items()}
    with torch.no_grad():
        ours = network.eval()(*(torch.from_numpy(given[name]) for name in ("past", "recent", "ahead")))
    (theirs,) = session.run(None, given)
    numpy.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)


def test_a_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="isotherm train"):
        read_model(tmp_path)
    for name in ("model.onnx", "record.json"):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    read_model(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"other")
    with pytest.raises(Invalid, match="not the one"):
        read_model(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(Invalid, match="not a training record"):
        read_model(tmp_path)


def test_quiet_series_teach_nothing_and_it_says_so(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    (tmp_path / "quiet.csv").write_text(
        "HashFunction," + ",".join(map(str, range(1, 1441))) + "\nx," + ",".join(["0"] * 1440) + "\n"
    )
    ran = CliRunner().invoke(app, ["train", str(tmp_path / "quiet.csv"), "--out", str(tmp_path / "models")])
    assert isinstance(ran.exception, Invalid)
    assert "nothing to learn" in str(ran.exception)
