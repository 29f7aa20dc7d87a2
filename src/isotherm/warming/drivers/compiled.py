"""Loops that are compiled: Numba, with its results kept on disk where there is a place for them."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from isotherm.base.errors import Unavailable
from isotherm.warming.drivers.cache import compiled_folder

try:
    import numba
except ImportError as exc:
    raise Unavailable("policies that learn need numba: pip install 'isotherm[forecast]'") from exc

__all__ = ["compiled"]

P = ParamSpec("P")
T = TypeVar("T")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """The function, compiled at its first call for the types that it is called with."""
    config: Any = numba.config
    folder, before = compiled_folder(), config.CACHE_DIR
    if folder is None:
        return cast(Callable[P, T], numba.njit(nogil=True)(function))
    config.CACHE_DIR = str(folder)
    try:
        made: Any = numba.njit(cache=True, nogil=True)(function)
    finally:
        config.CACHE_DIR = before
    return cast(Callable[P, T], made)
