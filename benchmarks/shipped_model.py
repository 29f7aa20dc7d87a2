"""Train the network that ships, from the traces:

    python -m benchmarks.shipped_model FOLDER

Of the World Cup's series the first three quarters; of the day of functions seven of ten distinct rows, by their hash.
What is left out is what benchmarks measure on. FOLDER gets `model.onnx` and `record.json`.
"""

import datetime
import hashlib
import os
import sys
from pathlib import Path

import msgspec
import numpy

from isotherm.forecast.model import Histories
from isotherm.forecast.service import describe
from isotherm.forecast.traces import read_trace
from isotherm.forecast.training import Corpus, Options, train

SOURCE = (
    "the first three quarters of the World Cup's series (Internet Traffic Archive, free for research); seven of ten "
    "distinct rows, by hash, of a day of the Azure Public Dataset (CC-BY 4.0; Shahrad et al., ATC'20)"
)


def main() -> None:
    out = Path(sys.argv[1])
    traces = Path(os.environ.get("ISOTHERM_TRACES", "../shared/data"))
    cup = read_trace(traces / "worldcup98" / "requests_per_minute.csv")
    day = distinct_part(read_trace(traces / "azure_functions_2019" / "day"))
    corpora = [
        Corpus("worldcup98", cup.until(cup.counts.shape[1] * 3 // 4)),
        Corpus("azure_functions_2019/day", day),
    ]
    options = Options(epochs=24)
    trained = train(corpora, options, lambda number, epoch: print(number, epoch, flush=True), lambda _: None)
    record = describe(trained, options, 1, SOURCE, datetime.datetime.now(datetime.UTC))
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(trained.onnx)
    (out / "record.json").write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def distinct_part(histories: Histories, *, held_out: bool = False) -> Histories:
    """Of the distinct rows the seven of ten that are trained on, or the other three."""
    rows = numpy.unique(histories.counts, axis=0)
    trained = numpy.array([int(hashlib.sha256(row.tobytes()).hexdigest(), 16) % 10 < 7 for row in rows])
    kept = rows[trained != held_out]
    return Histories(kept, histories.first_minute, numpy.zeros(len(kept), dtype=numpy.int32))


if __name__ == "__main__":
    main()
