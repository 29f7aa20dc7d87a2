"""What a function's runtime asks of its configuration: which runtime is meant, how a handler is named. Pure."""

import re
from collections.abc import Sequence

import msgspec

from isotherm.base.errors import Invalid
from isotherm.base.runtimes import LEAST_NODE, PROVIDED, is_node
from isotherm.functions.model import FunctionConfig

__all__ = ["check", "default_handler", "expected_handler", "settle"]

_least_node_pids = 24  # V8 and libuv start 11 threads, and a handler may want some too
_python_handler = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[./][A-Za-z_][A-Za-z0-9_]*)+").fullmatch
_node_handler = re.compile(
    r"(?:[A-Za-z0-9_@-][A-Za-z0-9_.@-]*/)*[A-Za-z0-9_@-]+(?:\.[A-Za-z_$][A-Za-z0-9_$]*)+"
).fullmatch


def settle(config: FunctionConfig, there: Sequence[str]) -> FunctionConfig:
    """With the runtime as one of `there` (the first, where none is named) and a handler. Raises `Invalid`."""
    runtime = _settled_runtime(config.runtime, there)
    return msgspec.structs.replace(config, runtime=runtime, handler=config.handler or default_handler(runtime))


def default_handler(runtime: str) -> str:
    if is_node(runtime):
        return "index.handler"
    return "bootstrap" if runtime == PROVIDED else "app.handler"


def expected_handler(runtime: str | None, handler: str) -> str | None:
    """What a handler must look like with this runtime; None where it does. Of `provided`, its bootstrap knows alone."""
    if runtime is not None and is_node(runtime):
        return None if _node_handler(handler) else "FILE.FUNCTION, such as index.handler or src/index.handler"
    if runtime == PROVIDED or _python_handler(handler):
        return None
    return "MODULE.FUNCTION, such as app.handler"


def check(config: FunctionConfig) -> None:
    """Whether a settled configuration fits its runtime. Raises `Invalid` naming the key."""
    runtime, handler = config.runtime or "", config.handler or ""
    expected = expected_handler(runtime, handler)
    if expected is not None:
        raise Invalid(f"handler is {handler!r}; with the runtime {runtime} it must be {expected}", key="handler")
    if config.debug and not runtime.startswith("python"):
        raise Invalid(f"debug is set, and the runtime is {runtime}; debuggers attach to Python functions", key="debug")
    if is_node(runtime) and config.pids < _least_node_pids:
        raise Invalid(f"pids is {config.pids}; {runtime} needs at least {_least_node_pids}", key="pids")
    if runtime == PROVIDED and config.concurrency != 1:
        raise Invalid(
            f"concurrency is {config.concurrency}; with the runtime provided it must be 1: the Runtime API hands out "
            "one call at a time",
            key="concurrency",
        )


def _settled_runtime(asked: str | None, there: Sequence[str]) -> str:
    if asked is None:
        return there[0]
    name = asked.removesuffix(".x")
    found = next((each for each in there if each == name or (name == "nodejs" and is_node(each))), None)
    if found is None:
        hint = (
            "" if any(map(is_node, there)) else f"; no Node.js of version {LEAST_NODE} or newer was found at its start"
        )
        raise Invalid(
            f"runtime is {asked!r}; this platform has {', '.join(there)}{hint if is_node(asked) else ''}",
            key="runtime",
            expected=list(there),
        )
    return found
