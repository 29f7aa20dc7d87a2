"""What is written down when a model is trained: on what, how, how well, and what the gate said."""

import msgspec

__all__ = ["Data", "Epoch", "Gate", "TrainingRecord"]


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Histories that a model was trained on."""

    name: str
    series: int
    minutes: int
    first_minute: int  # since 1970, UTC
    trained_until: int  # exclusive; the epochs saw nothing from here on
    validated_until: int  # exclusive; early stopping saw nothing from here on
    sha256: str  # of the counts of the series that were used, as float32


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """Pinball losses in the series' own scales."""

    trained: float
    validated: float
    seconds: float


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate saw: mean scaled pinball losses of both, and the interval of their relative difference."""

    promoted: bool
    reason: str
    current_version: int | None = None
    current: float | None = None
    candidate: float | None = None
    low: float | None = None  # of (candidate - current) / current
    high: float | None = None
    confidence: float = 0.95
    samples: int = 0


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Lies beside the model as `record.json`."""

    model: str
    version: int
    at: str  # ISO 8601, UTC
    isotherm: str  # version of the package
    features: int  # version of the inputs that it was trained for
    levels: tuple[float, ...]
    knots: tuple[int, ...]
    hidden: int
    parameters: int
    seed: int
    data: tuple[Data, ...]
    epochs: tuple[Epoch, ...]
    best_epoch: int
    onnx_sha256: str
    onnx_bytes: int
    gate: Gate | None = None
    source: str = ""  # where the data came from, and under what licence
