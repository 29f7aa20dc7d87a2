"""Stands in for AWS's package of this name where the user's environment lacks it: a registry of hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["get_after_restore", "get_before_snapshot", "register_after_restore", "register_before_snapshot"]

Function = TypeVar("Function", bound=Callable[..., object])
Hook = tuple[Callable[..., object], tuple[object, ...], dict[str, object]]

_before_snapshot: list[Hook] = []
_after_restore: list[Hook] = []


def register_before_snapshot(func: Function, *args: object, **kwargs: object) -> Function:
    """Call `func` once, in the template, before instances are made from it; the last registered goes first."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: Function, *args: object, **kwargs: object) -> Function:
    """Call `func` in each instance before its first request, in the order of registration."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Hook]:
    return _before_snapshot


def get_after_restore() -> list[Hook]:
    return _after_restore
