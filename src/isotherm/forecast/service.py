"""Train a new version of the network, hold it against the current one, and promote it where it is better."""

import datetime
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import numpy

from isotherm.base.errors import Invalid
from isotherm.forecast.backtest import backtest
from isotherm.forecast.drivers.lstm import Lstm
from isotherm.forecast.drivers.partial import busiest
from isotherm.forecast.features import KNOTS
from isotherm.forecast.model import LEVELS, Floats, Histories
from isotherm.forecast.promotion import CELL_MINUTES, gate
from isotherm.forecast.record import Epoch, Gate, TrainingRecord
from isotherm.forecast.training import Corpus, Options, Trained, train
from isotherm.forecast.versions import FEATURES, SHIPPED, Versions
from isotherm.forecast.window import Window

__all__ = ["Trainee", "describe", "train_model"]

GATE_LEADS: Final = (10, 60)
GATE_EVERY: Final = 10  # minutes from one origin to the next
GATE_SERIES: Final = 200
GATE_ORIGINS: Final = 600  # at most: of a long trace the latest


@dataclass(frozen=True, slots=True)
class Trainee:
    """What to train on. Of each history the last `holdout` share is kept from training, for the gate."""

    histories: Sequence[tuple[str, Histories]]
    holdout: float = 0.15
    source: str = ""


def train_model(
    trainee: Trainee, folder: Path, options: Options, say: Callable[[int, Epoch], None], now: datetime.datetime
) -> TrainingRecord:
    """The record of the new version in `folder`; its `gate` says whether it was promoted.

    The current version is that of the folder, else the one that ships. Raises `Invalid` where there is nothing to learn
    from, or too little is held out to compare.
    """
    kept = [(name, each, int(each.counts.shape[1] * (1 - trainee.holdout))) for name, each in trainee.histories]
    corpora = [Corpus(name, each.until(split)) for name, each, split in kept]
    versions = Versions(folder)
    number = max(versions.numbers(), default=0) + 1
    trained = train(corpora, options, say, lambda content: versions.draft(number, content))
    record = describe(trained, options, number, trainee.source, now)
    path = versions.add(record, trained.onnx, trained.checkpoint)
    record = msgspec.structs.replace(record, gate=_gate(kept, path, versions.current() or SHIPPED))
    versions.note(record)
    if record.gate is not None and record.gate.promoted:
        versions.promote(number)
    return record


def describe(trained: Trained, options: Options, number: int, source: str, now: datetime.datetime) -> TrainingRecord:
    """The record of a version that no gate has seen yet."""
    return TrainingRecord(
        model="lstm",
        version=number,
        at=now.isoformat(timespec="seconds"),
        isotherm=version("isotherm"),
        features=FEATURES,
        levels=LEVELS,
        knots=KNOTS,
        hidden=options.hidden,
        parameters=trained.parameters,
        seed=options.seed,
        data=trained.data,
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        onnx_sha256=hashlib.sha256(trained.onnx).hexdigest(),
        onnx_bytes=len(trained.onnx),
        source=source,
    )


def _gate(kept: Sequence[tuple[str, Histories, int]], candidate: Path, current: Path) -> Gate:
    """Both on what was held out, each series at each lead relative to the current model's own loss."""
    ours, theirs = [], []
    for _, histories, split in kept:
        held = _held_out(histories, split)
        if held is not None:
            ours.append(_losses(candidate, *held))
            theirs.append(_losses(current, *held))
    if not ours:
        raise Invalid("too few minutes, or too few arrivals in them, are held out to compare the new model: give more")
    shortest = min(len(each) for each in ours)  # of several traces the latest minutes, side by side
    block = max(1, min(CELL_MINUTES // GATE_EVERY, shortest // 8))
    return gate(
        numpy.concatenate([each[-shortest:] for each in ours], axis=1),
        numpy.concatenate([each[-shortest:] for each in theirs], axis=1),
        block=block,
        current_version=Lstm(current).record.version,
    )


def _held_out(histories: Histories, split: int) -> tuple[Histories, int] | None:
    """The busiest series, chosen by what came before the split, and where to begin."""
    m = histories.counts.shape[1]
    begin = max(split, m - GATE_EVERY * GATE_ORIGINS)
    if m - begin < 8 * GATE_EVERY + max(GATE_LEADS):
        return None
    rows = busiest(Window(histories.until(begin)), GATE_SERIES, 0.2)
    if not len(rows):
        return None
    return Histories(histories.counts[rows], histories.first_minute, histories.since[rows]), begin


def _losses(model: Path, histories: Histories, begin: int) -> Floats:
    """Pinball losses [origins, series times leads]."""
    outcome = backtest(Lstm(model, most=GATE_SERIES, active=0.0), histories, begin, GATE_LEADS, every=GATE_EVERY)
    return numpy.concatenate([outcome.losses(lead) for lead in GATE_LEADS], axis=1)
