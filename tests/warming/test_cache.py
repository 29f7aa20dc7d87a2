"""When loops are compiled ahead."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.warming.drivers import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(cache.PLACE, str(tmp_path))
    cache.compiled_folder.cache_clear()
    yield
    cache.compiled_folder.cache_clear()


def test_loops_are_compiled_ahead_once() -> None:
    assert cache.wants_filling()
    cache.note_filled()
    assert not cache.wants_filling()


def test_without_a_compiler_nothing_is_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert not cache.wants_filling()
