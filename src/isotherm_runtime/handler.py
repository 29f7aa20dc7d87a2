"""Importing the user's handler, in the environment that Lambda would give it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.errors import ImportProblem, describe

__all__ = ["Handler", "ImportProblem", "apply_environment", "import_handler", "load", "reserved_environment"]

CO_COROUTINE, CO_ASYNC_GENERATOR = 0x80, 0x200  # as in `inspect`, which takes 10 ms to import
SHIMS = os.path.join(os.path.dirname(__file__), "shims")


class Handler:
    """The user's function. `is_async`: it is called on an event loop."""

    __slots__ = ("function", "import_ms", "is_async")

    def __init__(self, function: Callable[..., object], is_async: bool, import_ms: float) -> None:
        self.function = function
        self.is_async = is_async
        self.import_ms = import_ms


def load(config: RuntimeConfig) -> Handler:
    """Set up environment, path and output, then import. Raises `ImportProblem`.

    Makes no thread, descriptor or event loop, so that a process that did this can be forked. In an instance that
    imports for itself, after `restore.after_fork`, no snapshot lies between the hooks: both kinds run at once.
    """
    from isotherm_runtime import logs, restore

    apply_environment(config)
    logs.install()
    found = import_handler(config)
    if restore.is_instance():
        restore.run_before_hooks()
        restore.run_after_hooks()
    return found


def apply_environment(config: RuntimeConfig) -> None:
    """Set the user's variables, then the reserved ones, which win."""
    os.environ.update(layer_environment(config, os.environ))
    os.environ.update(config.env)
    os.environ.update(reserved_environment(config))
    time.tzset()


def layer_environment(config: RuntimeConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Where programs and libraries of layers are found; beside what `environ` has."""
    if not config.layers:
        return {}
    libraries = [f"{config.layers}/lib", *filter(None, [environ.get("LD_LIBRARY_PATH")])]
    return {
        "PATH": f"{config.layers}/bin:{environ.get('PATH', '/usr/bin:/bin')}",
        "LD_LIBRARY_PATH": ":".join(libraries),
    }


def layer_path(config: RuntimeConfig) -> list[str]:
    """Where modules of layers are found, behind the package's own."""
    if not config.layers:
        return []
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return [f"{config.layers}/python/lib/{version}/site-packages", f"{config.layers}/python"]


def reserved_environment(config: RuntimeConfig) -> dict[str, str]:
    """Lambda's reserved variables. TZ may be set by the user, as there."""
    lambdas_name = f"{config.runtime}.x" if config.runtime.startswith("nodejs") else config.runtime
    return {
        "AWS_DEFAULT_REGION": config.region,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{lambdas_name}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": config.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": config.function_version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if config.runtime.startswith("python") else "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{config.function_name}",
        "AWS_REGION": config.region,
        "LAMBDA_TASK_ROOT": config.path[0] if config.path else "/code",
        "TZ": config.env.get("TZ", ":UTC"),
        "_HANDLER": config.handler,
    }


def import_handler(config: RuntimeConfig) -> Handler:
    """Put the path entries first in sys.path and import. Raises `ImportProblem`."""
    started = time.perf_counter()
    first = [*config.path, *layer_path(config)]
    sys.path[:] = [*first, *(entry for entry in sys.path if entry not in first)]
    if SHIMS not in sys.path:
        sys.path.append(SHIMS)  # last: the user's own copy of a module wins
    module_name, function_name = _split(config.handler)
    function = _find(_import(module_name), module_name, function_name)
    flags = _code_flags(function)
    is_async = bool(flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))
    if flags & CO_ASYNC_GENERATOR:
        function = _returning(function)
    _preload(is_async, config)
    return Handler(function, is_async, (time.perf_counter() - started) * 1000)


def _preload(is_async: bool, config: RuntimeConfig) -> None:
    """Import what serving will need, so that no fork pays for it: `asyncio` takes 40 ms, and makes no loop."""
    if is_async:
        from isotherm_runtime import tasks  # noqa: F401 - as above
    elif config.concurrency > 1 and config.dispatch == "threads":
        from isotherm_runtime import followers  # noqa: F401 - as above
    else:
        from isotherm_runtime import serial  # noqa: F401 - as above


def _split(name: str) -> tuple[str, str]:
    module_name, dot, function_name = name.rpartition(".")
    if not dot or not module_name or not function_name:
        raise ImportProblem(
            "Runtime.MalformedHandlerName",
            f"Bad handler {name!r}: it must be module.function, for instance app.handler",
        )
    return module_name.replace("/", "."), function_name


def _import(module_name: str) -> object:
    try:
        __import__(module_name)  # not importlib.import_module, whose frame would stand in the user's traceback
        return sys.modules[module_name]
    except SystemExit as exc:
        _, _, trace = describe(exc)
        message = f"Module {module_name!r} called sys.exit({exc.code!r}) while it was imported"
        raise ImportProblem("Runtime.ExitError", message, trace) from exc
    except SyntaxError as exc:
        where = f'  File "{exc.filename}", line {exc.lineno}\n    {(exc.text or "").strip()}\n'
        message = f"Syntax error in module {module_name!r}: {exc.msg} ({os.path.basename(exc.filename or '?')}"
        raise ImportProblem(
            "Runtime.UserCodeSyntaxError", f"{message}, line {exc.lineno})", [*describe(exc)[2], where]
        ) from exc
    except ImportError as exc:
        _, message, trace = describe(exc)
        raise ImportProblem(
            "Runtime.ImportModuleError", f"Unable to import module {module_name!r}: {message}", trace
        ) from exc
    except BaseException as exc:  # anything else that the module raised, KeyboardInterrupt included
        error_type, message, trace = describe(exc)
        raise ImportProblem(error_type, message, trace) from exc


def _find(module: object, module_name: str, function_name: str) -> Callable[..., object]:
    try:
        function = getattr(module, function_name)
    except AttributeError:
        message = f"Handler {function_name!r} missing on module {module_name!r}"
        raise ImportProblem("Runtime.HandlerNotFound", message) from None
    if not callable(function):
        message = f"Handler {function_name!r} of module {module_name!r} is {type(function).__name__}, not a function"
        raise ImportProblem("Runtime.HandlerNotFound", message)
    found: Callable[..., object] = function
    return found


def _code_flags(function: object) -> int:
    """The flags of the code that calling it runs, as `inspect` would find them."""
    for _ in range(16):  # partials and callable objects, not endlessly
        inner = getattr(function, "func", None)  # functools.partial
        if inner is not None and hasattr(function, "keywords"):
            function = inner
            continue
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None:
            return int(code.co_flags)
        call = vars(type(function)).get("__call__")
        if call is None:
            return 0
        function = call
    return 0


def _returning(function: Callable[..., object]) -> Callable[..., object]:
    """An async generator function as a coroutine function that returns the generator: one kind of async handler."""

    async def handler(event: object, context: object) -> object:
        return function(event, context)

    return handler
