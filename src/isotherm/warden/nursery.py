"""A nursery: a fresh interpreter of one tenant that has imported the platform's runtime, and forks launchers.

It is root, runs no code of a user and is told no secret: what a keeper needs to know comes to it from the warden
later, over a channel of its own. Without it each revision would pay 50 ms of CPU for starting an interpreter; that
it serves one tenant alone keeps hash seeds and address layouts from being shared among tenants.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import isotherm
import isotherm_runtime
from isotherm.warden.launcher import Launch, close_all_but, fork_launcher
from isotherm.warden.paths import HostFolder
from isotherm.warden.tree import CODE, DEPS, LAYERS, NAME_SERVER, RUNTIME, Bind, Tree, own_interpreter
from isotherm_runtime import linux
from isotherm_runtime.confine import TEMPLATE_UID
from isotherm_runtime.seqpacket import MessageError, PeerGone, close_all, receive

__all__ = ["LaunchOrder", "become_keeper", "main"]

_runtime_modules = (
    "keeper",
    "template",
    "handler",
    "serve",
    "serial",
    "restore",
    "logs",
    "invoke",
    "context",
    "events",
    "bridge",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOrder:
    """One sandbox to build, as a message with [the keeper's channel, if `egress` a network namespace, join files…]."""

    isolated: bool
    host_dir: str
    host_uid: int
    code_dir: str  # relative to host_dir
    deps_dir: str | None
    layers_dir: str | None
    id_base: int
    tmp_bytes: int
    egress: bool  # in a network namespace that is given, with names
    prefixes: tuple[str, ...]  # shown beside those of this interpreter

    def to_message(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def folder(self) -> HostFolder:
        return HostFolder(self.host_dir, self.host_uid)

    def binds(self) -> tuple[Bind, ...]:
        shown = ((self.code_dir, CODE), (self.deps_dir, DEPS), (self.layers_dir, LAYERS))
        open_it = functools.partial(self.folder.open, readable_by_all=self.isolated)
        return tuple(Bind(functools.partial(open_it, path), target) for path, target in shown if path is not None)


def main(channel_fd: int) -> NoReturn:
    """Serve orders until the warden goes."""
    linux.set_parent_death_signal(signal.SIGKILL)
    linux.set_process_name("iso-nursery")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # launchers are collected by the kernel
    channel = socket.socket(fileno=channel_fd)
    for name in _runtime_modules:
        importlib.import_module(f"isotherm_runtime.{name}")
    interpreter = own_interpreter()
    gc.collect()
    gc.freeze()
    while True:
        try:
            message, descriptors = receive(channel)
        except (PeerGone, MessageError):
            os._exit(0)
        order = LaunchOrder(**message)
        network = descriptors[1:2] if order.egress else []
        launch = Launch(
            channel=socket.socket(fileno=descriptors[0]),
            join_files=tuple(descriptors[1 + len(network) :]),
            become=become_keeper,
            isolated=order.isolated,
            tree=Tree(
                interpreter,
                order.binds(),
                tuple(order.prefixes),
                name_server=NAME_SERVER if order.egress else None,
            ),
            id_base=order.id_base,
            tmp_bytes=order.tmp_bytes,
            tmp_uid=TEMPLATE_UID,
            network_fd=network[0] if network else None,
        )
        fork_launcher(launch)
        launch.channel.close()
        close_all(descriptors[1:])


def become_keeper(launch: Launch) -> NoReturn:
    """In the new namespaces: forget the warden's modules, find the runtime where the sandbox has it, and keep."""
    from isotherm_runtime import handler, keeper

    channel_fd = launch.channel.detach()
    close_all_but(channel_fd)
    platform = {os.path.dirname(package.__path__[0]) for package in (isotherm, isotherm_runtime)}
    for name in [name for name in sys.modules if name.partition(".")[0] == "isotherm"]:
        del sys.modules[name]
    place = f"{RUNTIME}/isotherm_runtime" if launch.isolated else isotherm_runtime.__path__[0]
    sys.path[:] = [os.path.dirname(place), *(path for path in sys.path if path not in platform)]
    isotherm_runtime.__path__[:] = [place]
    handler.SHIMS = f"{place}/shims"
    sys.path_importer_cache.clear()
    keeper.main(channel_fd)
    raise AssertionError("a keeper does not return")
