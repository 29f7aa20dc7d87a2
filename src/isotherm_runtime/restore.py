"""What makes forks of one template unlike each other, and the hooks of `snapshot_restore_py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

from isotherm_runtime.errors import RestoreProblem, describe

__all__ = [
    "AFTER_HOOKS_LIMIT_S",
    "after_fork",
    "before_checkpoint",
    "is_instance",
    "reseed",
    "run_after_hooks",
    "run_before_hooks",
]

AFTER_HOOKS_LIMIT_S = 10.0  # Lambda's limit

_is_instance = False


def before_checkpoint() -> None:
    """Once in the template, after the import: run the before-hooks, empty the output buffers, freeze the heap.

    Raises `RestoreProblem` where a hook raised.
    """
    import gc

    run_before_hooks()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    gc.collect()
    gc.freeze()  # so that no collection writes to pages that forks share


def after_fork(limit_s: float = AFTER_HOOKS_LIMIT_S) -> None:
    """In every fork, before it serves: reseed, then run the after-hooks. Raises `RestoreProblem`.

    The time limit holds on the main thread; elsewhere the starter's own limit must do.
    """
    global _is_instance
    _is_instance = True
    reseed()
    run_after_hooks(limit_s)


def is_instance() -> bool:
    """Whether this process is a fork that will serve, and not the template."""
    return _is_instance


def run_before_hooks() -> None:
    """The last registered goes first. Raises `RestoreProblem`."""
    for function, args, kwargs in reversed(list(_hooks("get_before_snapshot"))):
        _run("register_before_snapshot", function, args, kwargs)


def run_after_hooks(limit_s: float = AFTER_HOOKS_LIMIT_S) -> None:
    """In the order of registration. Raises `RestoreProblem`."""
    hooks = list(_hooks("get_after_restore"))
    if hooks:
        with _TimeLimit(limit_s):
            for function, args, kwargs in hooks:
                _run("register_after_restore", function, args, kwargs)


def reseed() -> None:
    """New random state for every generator that is reachable by name. Generators made at import are not."""
    loaded = sys.modules.get
    if (random := loaded("random")) is not None:
        random.seed()
    if (numpy_random := loaded("numpy.random")) is not None:
        numpy_random.seed()
    if (ssl := loaded("ssl")) is not None:
        ssl.RAND_add(os.urandom(48), 48.0)  # OpenSSL sees a fork by its pid, and two pid 1 look alike
    if (uuid := loaded("uuid")) is not None:
        # libuuid's clock sequence is a copy; the fallback draws from `random`. The bit says: not a hardware address.
        node = int.from_bytes(os.urandom(6), "big") | (1 << 40)
        vars(uuid).update(_generate_time_safe=None, _last_timestamp=None, _node=node)
    if (tempfile := loaded("tempfile")) is not None:
        vars(tempfile).update(_name_sequence=None)


def _hooks(getter: str) -> Iterator[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]]:
    registry = sys.modules.get("snapshot_restore_py")  # not imported: nothing registered
    if registry is not None:
        yield from getattr(registry, getter, list)()


def _run(name: str, function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    try:
        function(*args, **kwargs)
    except BaseException as exc:
        error_type, message, trace = describe(exc)
        hook = getattr(function, "__qualname__", repr(function))
        problem = "Runtime.BeforeSnapshotError" if "before" in name else "Runtime.AfterRestoreError"
        raise RestoreProblem(problem, f"The hook {hook} ({name}) failed: {error_type}: {message}", trace) from exc


class _HooksTooSlow(BaseException):
    """Not an `Exception`, so that a hook does not swallow it by chance."""


class _TimeLimit:
    """Interrupts the block by SIGALRM. Does nothing outside the main thread, where Python delivers no signals."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.armed = False

    def __enter__(self) -> None:
        import signal

        def expire(_signal: int, _frame: object) -> None:
            raise _HooksTooSlow(f"after-restore hooks ran longer than {self.limit_s:g} s")

        try:
            self.previous = signal.signal(signal.SIGALRM, expire)
        except ValueError:
            return
        signal.setitimer(signal.ITIMER_REAL, self.limit_s)
        self.armed = True

    def __exit__(self, *_: object) -> None:
        if self.armed:
            import signal

            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.previous)
