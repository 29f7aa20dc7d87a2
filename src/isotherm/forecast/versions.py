"""Versions of trained models on disk, and which is current.

FOLDER/VERSION/ has `model.onnx`, `checkpoint.npz` and `record.json`; FOLDER/current the number of the promoted one.
"""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from isotherm.base.errors import Invalid, NotFound
from isotherm.forecast.record import TrainingRecord

__all__ = ["FEATURES", "SHIPPED", "Versions", "models_folder", "read_model"]

SHIPPED: Final = Path(__file__).parent / "models" / "lstm"
FEATURES: Final = 1  # of `features.Inputs`: raised when a model trained before would no longer fit
MAX_BYTES: Final = 64 * 1024 * 1024


def read_model(folder: Path) -> tuple[bytes, TrainingRecord]:
    """The network and its record. Raises `NotFound` or `Invalid`, saying what does not fit."""
    try:
        record = msgspec.json.decode(_bounded(folder / "record.json"), type=TrainingRecord)
        content = _bounded(folder / "model.onnx")
    except FileNotFoundError as exc:
        raise NotFound(f"no trained model in {folder}: {exc.filename} is missing; `isotherm train` makes one") from exc
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{folder / 'record.json'} is not a training record: {exc}") from exc
    if hashlib.sha256(content).hexdigest() != record.onnx_sha256:
        raise Invalid(f"{folder / 'model.onnx'} is not the one that record.json is about: train again, or restore it")
    if record.features != FEATURES:
        raise Invalid(f"{folder}: trained for features {record.features}, this version has {FEATURES}: train again")
    return content, record


def models_folder(setting: str, data: Path) -> Path:
    """Where a platform at work looks for versions: as the setting `forecast_models` says, or in its data folder."""
    return Path(setting) if setting else data / "models"


def _bounded(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise Invalid(f"{path} is larger than {MAX_BYTES} bytes")
    return path.read_bytes()


class Versions:
    """All versions of one model below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def numbers(self) -> list[int]:
        """Ascending."""
        if not self._folder.is_dir():
            return []
        return sorted(int(each.name) for each in self._folder.iterdir() if each.name.isdecimal())

    def current(self) -> Path | None:
        """The folder of the promoted version."""
        try:
            number = int((self._folder / "current").read_text())
        except FileNotFoundError:
            return None
        except ValueError as exc:
            raise Invalid(f"{self._folder / 'current'} is not the number of a version") from exc
        return self._folder / str(number)

    def draft(self, version: int, checkpoint: bytes) -> None:
        """Keep the best network so far of a version that is being trained, in case the training is ended."""
        draft = self._draft(version)
        part = draft / "checkpoint.npz.new"
        part.write_bytes(checkpoint)
        part.replace(draft / "checkpoint.npz")

    def add(self, record: TrainingRecord, onnx: bytes, checkpoint: bytes) -> Path:
        """Write a version, whole or not at all; it is not current yet. Its folder."""
        draft = self._draft(record.version)
        (draft / "model.onnx").write_bytes(onnx)
        (draft / "checkpoint.npz").write_bytes(checkpoint)
        (draft / "record.json").write_bytes(_written(record))
        return draft.rename(self._folder / str(record.version))

    def note(self, record: TrainingRecord) -> None:
        """Write a version's record anew."""
        path = self._folder / str(record.version) / "record.json"
        part = path.with_suffix(".new")
        part.write_bytes(_written(record))
        part.replace(path)

    def promote(self, version: int) -> None:
        """Make a version the current one."""
        part = self._folder / ".current.new"
        part.write_text(f"{version}\n")
        part.replace(self._folder / "current")

    def _draft(self, version: int) -> Path:
        draft = self._folder / f".{version}.new"
        draft.mkdir(parents=True, exist_ok=True)
        return draft


def _written(record: TrainingRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
