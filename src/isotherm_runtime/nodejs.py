"""How an instance of a Node.js revision begins: this process becomes Node.js with the front end in `node/`."""

from __future__ import annotations

import os
import signal

from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.handler import layer_environment, reserved_environment

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

__all__ = ["become", "layer_modules", "node_argv", "node_environment"]

MAIN = os.path.join(os.path.dirname(__file__), "node", "main.js")
OWN_MB = 40  # what Node.js takes beside the heap
KEPT = ("PATH", "HOME", "LANG")


def become(executable: str, stream_fd: int, config: RuntimeConfig) -> NoReturn:
    """Replace this process. Raises `OSError` where the program cannot be run."""
    config_fd = os.memfd_create("config", 0)  # not in the arguments: `env` has secrets
    os.write(config_fd, config.to_json())
    os.lseek(config_fd, 0, os.SEEK_SET)
    os.set_inheritable(stream_fd, True)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and a program that is run would too
    argv = [*node_argv(executable, config.memory_mb), MAIN, str(stream_fd), str(config_fd)]
    os.execve(executable, argv, node_environment(config, os.environ))  # noqa: S606 - no shell is the point


def node_argv(executable: str, memory_mb: int) -> list[str]:
    """V8's heap ends a little below the instance's memory, so that it collects before the kernel ends the instance."""
    heap_mb = max(memory_mb // 2, min(memory_mb * 9 // 10, memory_mb - OWN_MB))
    return [executable, f"--max-old-space-size={heap_mb}", f"--max-semi-space-size={max(1, memory_mb // 32)}"]


def node_environment(config: RuntimeConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The user's variables, then the reserved ones, which win."""
    env = {name: environ[name] for name in KEPT if name in environ}
    env |= layer_environment(config, env)
    places = [f"{config.path[1]}/node_modules"] if len(config.path) > 1 else []
    places += layer_modules(config)
    if places:
        env["NODE_PATH"] = ":".join(places)
    return env | config.env | reserved_environment(config)


def layer_modules(config: RuntimeConfig) -> list[str]:
    """Where modules of layers are found."""
    if not config.layers:
        return []
    own = f"{config.layers}/nodejs"
    version = "".join(sign for sign in config.runtime if sign.isdigit())
    return [f"{own}/node_modules", *([f"{own}/node{version}/node_modules"] if version else [])]
