"""Train the network of `lstm` on histories. Needs torch; the result does not."""

import hashlib
import io
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from isotherm.base.errors import Invalid
from isotherm.forecast.drivers.lstm_network import Network, pinball
from isotherm.forecast.features import KNOTS, PAST, Inputs, inputs
from isotherm.forecast.model import Floats, Histories
from isotherm.forecast.record import Data, Epoch

__all__ = ["Corpus", "Options", "Trained", "train"]

REACH: Final = max(KNOTS)
FORGET: Final = 0.25  # of the samples that are shown without last week, and as many without yesterday either
ACTIVE: Final = 0.2  # share of minutes with arrivals below which a series is left to other forecasters


@dataclass(frozen=True, slots=True)
class Corpus:
    """Histories under a name. Of its minutes the last `validate` share is for early stopping alone."""

    name: str
    histories: Histories
    validate: float = 0.15


@dataclass(frozen=True, slots=True)
class Options:
    epochs: int = 30
    samples: int = 20_000  # an epoch
    validation: int = 6_000
    batch: int = 256
    hidden: int = 48
    rate: float = 3e-3
    patience: int = 5  # epochs without a better validation, after which it ends
    seed: int = 1
    threads: int = 1  # more of them wait for each other on a busy machine


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch's network, as ONNX and as arrays by name (`numpy.load` without pickle), and how it went."""

    onnx: bytes
    checkpoint: bytes
    parameters: int
    data: tuple[Data, ...]
    epochs: tuple[Epoch, ...]
    best_epoch: int


@dataclass(frozen=True, slots=True)
class _Source:
    counts: Floats
    first_minute: int
    since: NDArray[numpy.int64]
    split: int  # the column where validation begins
    data: Data


def train(
    corpora: list[Corpus], options: Options, say: Callable[[int, Epoch], None], keep: Callable[[bytes], None]
) -> Trained:
    """`say` hears of each epoch, `keep` gets the checkpoint of each that is better than all before.

    Raises `Invalid` where no series is long and busy enough.
    """
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    sources = [source for corpus in corpora if (source := _source(corpus)) is not None]
    if not sources:
        raise Invalid(
            f"no series has arrivals in {ACTIVE:.0%} of at least {8 * REACH + PAST} minutes: nothing to learn"
        )
    rng = numpy.random.default_rng(options.seed)
    validation = list(_batches(sources, options.validation, options.batch, numpy.random.default_rng(0), late=True))
    network = Network(options.hidden)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-3)
    steps = options.epochs * (options.samples // options.batch + 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, options.rate / 30)
    epochs: list[Epoch] = []
    best, best_epoch, checkpoint = float("inf"), 0, b""
    for number in range(options.epochs):
        began = time.monotonic()
        network.train()
        losses = []
        for batch, actual in _batches(sources, options.samples, options.batch, rng, late=False):
            loss = pinball(network(*batch), actual).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        validated = _validate(network, validation)
        epochs.append(Epoch(trained=sum(losses) / len(losses), validated=validated, seconds=time.monotonic() - began))
        say(number, epochs[-1])
        if validated < best:
            best, best_epoch, checkpoint = validated, number, _checkpoint(network)
            keep(checkpoint)
        elif number - best_epoch >= options.patience:
            break
    _restore(network, checkpoint)
    return Trained(
        onnx=_export(network),
        checkpoint=checkpoint,
        parameters=sum(each.numel() for each in network.parameters()),
        data=tuple(source.data for source in sources),
        epochs=tuple(epochs),
        best_epoch=best_epoch,
    )


def _source(corpus: Corpus) -> _Source | None:
    """The series that are busy enough; None where there are none."""
    histories = corpus.histories
    m = histories.counts.shape[1]
    split = int(m * (1 - corpus.validate))
    if split - PAST < 4 * REACH or m - split < 2 * REACH:
        return None
    known = numpy.maximum(m - histories.since, 1)
    busy = ((histories.counts > 0).sum(axis=1) >= ACTIVE * known) & (known >= PAST + 8 * REACH)
    counts = histories.counts[busy]
    if len(counts) == 0:
        return None
    data = Data(
        name=corpus.name,
        series=len(counts),
        minutes=m,
        first_minute=histories.first_minute,
        trained_until=histories.first_minute + split,
        validated_until=histories.now,
        sha256=hashlib.sha256(numpy.ascontiguousarray(counts).tobytes()).hexdigest(),
    )
    return _Source(counts, histories.first_minute, histories.since[busy].astype(numpy.int64), split, data)


def _batches(
    sources: list[_Source], samples: int, size: int, rng: numpy.random.Generator, *, late: bool
) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
    """Random series and minutes, as many of each source; `late`: of the part for validation, and then whole."""
    for _ in range(0, samples, size):
        parts = [_draw(source, max(1, size // len(sources)), rng, late=late) for source in sources]
        given = [
            torch.from_numpy(numpy.concatenate([getattr(part, name) for part, _ in parts]))
            for name in ("past", "recent", "ahead")
        ]
        actual = numpy.concatenate([actual for _, actual in parts])
        yield (given[0], given[1], given[2]), torch.from_numpy(actual)


def _draw(source: _Source, size: int, rng: numpy.random.Generator, *, late: bool) -> tuple[Inputs, Floats]:
    rows = rng.integers(0, len(source.counts), size)
    first = numpy.maximum(source.since[rows] + PAST, source.split if late else PAST)
    last = source.counts.shape[1] - REACH if late else source.split - REACH
    ends = (first + rng.random(size) * numpy.maximum(last - first, 1)).astype(numpy.int64)
    given = inputs(source.counts, rows, ends, source.first_minute, source.since)
    knots = ends[:, None] + numpy.array(KNOTS) - 1
    logs = numpy.log1p(source.counts[rows[:, None], knots])
    actual = ((logs - given.level[:, None]) / given.scale[:, None]).astype(numpy.float32)
    if not late:
        _forget(given, rng)
    return given, numpy.clip(actual, -20, 20)


def _forget(given: Inputs, rng: numpy.random.Generator) -> None:
    """Take last week, or yesterday too, from some samples, in place: most series are young."""
    chance = rng.random(len(given.past))
    week, both = chance < 2 * FORGET, chance < FORGET
    given.past[week, :, 6], given.ahead[week, :, 2:4] = 0, 0
    given.past[both, :, 5], given.ahead[both, :, 0:2] = 0, 0


@torch.no_grad()
def _validate(network: Network, batches: list[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]) -> float:
    network.eval()
    return float(numpy.mean([float(pinball(network(*batch), actual).mean()) for batch, actual in batches]))


def _checkpoint(network: Network) -> bytes:
    content = io.BytesIO()
    arrays = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    numpy.savez(content, **arrays)
    return content.getvalue()


def _restore(network: Network, checkpoint: bytes) -> None:
    with numpy.load(io.BytesIO(checkpoint), allow_pickle=False) as arrays:
        network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})


def _export(network: Network) -> bytes:
    network.eval()
    content = io.BytesIO()
    given = (torch.zeros(2, PAST // 5, 11), torch.zeros(2, 15), torch.zeros(2, len(KNOTS), 8))
    names = ["past", "recent", "ahead"]
    with warnings.catch_warnings():  # it begins from zeros for whatever k: what the warning is about cannot come up
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size", UserWarning)
        torch.onnx.export(
            network,
            given,
            content,  # type: ignore[arg-type]  # the exporter that needs no further packages takes a file
            input_names=names,
            output_names=["quantiles"],
            dynamic_axes={name: {0: "k"} for name in [*names, "quantiles"]},
            opset_version=17,
            dynamo=False,
        )
    return content.getvalue()
