"""One job: a program that runs to its end in a sandbox with the machine's network, and leaves files in one folder."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import stat
from collections.abc import Callable, Mapping
from typing import Any

from isotherm.warden.cgroups import CgroupError, Group, GroupLimits
from isotherm.warden.facilities import Facilities, process_end, reap
from isotherm.warden.instance import exit_message, remove_group
from isotherm.warden.instances import Tell
from isotherm.warden.launcher import Launch, base_environment, exec_job, fork_launcher
from isotherm.warden.launching import Launched, LaunchFailed, collect_later
from isotherm.warden.ranges import NoIdsLeft
from isotherm.warden.request import BadRequest, RunJob, relative_path
from isotherm.warden.tree import OUT, Bind, Interpreter, Tree
from isotherm_runtime import linux
from isotherm_runtime.confine import USER_UID
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Job", "outside", "take_over"]

_KILL_TIMEOUT_S = 10.0
_TAKE_OVER_TIMEOUT_S = 300.0


class Job:
    """The host gets `output` with the read end of its stdout and stderr, then `done`."""

    def __init__(self, request: RunJob, facilities: Facilities, tell: Tell, on_gone: Callable[[Job], None]) -> None:
        self.id = request.id
        self._request = request
        self._have = facilities
        self._tell = tell
        self._on_gone = on_gone
        self._group: Group | None = None
        self._pidfd = -1
        self._asked = False
        self._why: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def end(self) -> None:
        self._asked = True
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError, ValueError):
                if not self._have.isolated:
                    os.killpg(linux.pid_of(self._pidfd), signal.SIGKILL)
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def _run(self) -> None:
        answer: dict[str, Any] = {}
        try:
            answer = await self._run_to_end()
        except (LaunchFailed, CgroupError, NoIdsLeft, BadRequest, OSError, ValueError) as exc:
            answer = {"why": f"the sandbox of the job could not be built: {exc}"}
        finally:
            await remove_group(self._group)
            self._tell({"op": "done", "id": self.id, **answer})
            self._on_gone(self)

    async def _run_to_end(self) -> dict[str, Any]:
        request, have = self._request, self._have
        id_base = have.ranges.take()
        owner = id_base + USER_UID
        descriptors: list[int] = []
        try:
            out = have.open_in_host_dir(request.out_dir, readable_by_all=False)
            descriptors.append(out)
            open_out = functools.partial(have.open_in_host_dir, request.out_dir, readable_by_all=False)
            binds = [Bind(open_out, OUT, writable=True), *self._binds()]
            if have.isolated:
                linux.change_owner(out, owner, owner)
            try:
                status, timed_out = await self._launch(
                    Tree(have.python, tuple(binds), self._prefixes(), network=True), id_base
                )
            finally:
                if have.isolated:
                    await _aside(functools.partial(take_over, out, owner, have.host_uid, have.host_gid))
        finally:
            close_all(descriptors)
            have.ranges.give_back(id_base)
        return {**exit_message(status, self._group, asked=self._asked and not timed_out), "timed_out": timed_out}

    def _prefixes(self) -> tuple[str, ...]:
        """What any of the runtimes needs: an installer may be a program of each."""
        return tuple(prefix for each in self._have.interpreters.values() for prefix in each.prefixes)

    def _binds(self) -> list[Bind]:
        """What the job may read. Raises `BadRequest` for what lies neither below DATA/host nor in pip's own folder."""
        binds = []
        for path, inside in self._request.read_only:
            relative = relative_path(path, self._have.host_dir)
            if relative is not None:
                bind = Bind(functools.partial(self._have.open_in_host_dir, relative), inside)
            elif path == self._have.pip_dir:
                bind = Bind(functools.partial(os.open, path, os.O_PATH | os.O_CLOEXEC), inside)
            else:
                raise BadRequest(f"read_only: {path[:200]} is neither below {self._have.host_dir} nor pip's folder")
            os.close(bind.open())  # a bad path is found here, where it can be told
            binds.append(bind)
        return binds

    async def _launch(self, tree: Tree, id_base: int) -> tuple[int | None, bool]:
        """Start it and wait for its end; `(wait status, whether it ran out of time)`."""
        request, have = self._request, self._have
        joins: list[int] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, output_end = os.pipe()
        if have.base is not None:
            self._group = have.base.child(self.id)
            self._group.make(GroupLimits(memory_bytes=request.memory_bytes, pids=request.pids))
            joins = self._group.open_join_files()
        if have.isolated:
            os.fchown(output_end, id_base + USER_UID, id_base + USER_UID)
        argv, env = self._command(tree.interpreter)
        launch = Launch(
            channel=theirs,
            join_files=tuple(joins),
            become=exec_job(argv, env, output_end),
            isolated=have.isolated,
            tree=tree,
            id_base=id_base,
            tmp_bytes=request.tmp_bytes,
            tmp_uid=USER_UID,
            network_fd=have.network_fd,
        )
        launcher = fork_launcher(launch)
        theirs.close()
        collect_later(os.pidfd_open(launcher))
        launched = Launched()
        close_all([*joins, output_end])
        os.set_blocking(output, False)
        self._tell({"op": "output", "id": self.id}, [output])
        channel = AsyncChannel(ours, self._on_message(launched), lambda _: launched.on_closed())
        try:
            self._pidfd = await launched.pidfd()
            if self._asked:
                self.end()
            timed_out = not await process_end(self._pidfd, request.timeout_s)
            if timed_out:
                self.end()
                await process_end(self._pidfd, _KILL_TIMEOUT_S)
            status = reap(self._pidfd)
        finally:
            channel.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
        if self._why is not None:
            raise LaunchFailed(self._why)
        return status, timed_out

    def _command(self, interpreter: Interpreter) -> tuple[tuple[str, ...], dict[str, str]]:
        """Arguments and environment; without a tree of its own, paths inside become those of the machine."""
        request = self._request
        program = interpreter.executable if request.argv[0] == "python" else request.argv[0]
        argv, env = (program, *request.argv[1:]), base_environment(self._have.interpreters.values()) | request.env
        if self._have.isolated:
            return argv, env
        places = {inside: path for path, inside in request.read_only} | {
            OUT: f"{self._have.host_dir}/{request.out_dir}"
        }
        return tuple(outside(text, places) for text in argv), {
            name: outside(text, places) for name, text in env.items()
        }

    def _on_message(self, launched: Launched) -> Callable[[dict[str, Any], list[int]], None]:
        def on_message(message: dict[str, Any], descriptors: list[int]) -> None:
            if message.get("op") == "failed":
                self._why = str(message.get("why"))[:1000]
            launched.on_message(message, descriptors)
            close_all(descriptors)

        return on_message


async def _aside(action: Callable[[], None]) -> None:
    """Do it in a child, so that nobody waits for it and the warden keeps its one thread."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0)
    pidfd = os.pidfd_open(pid)
    try:
        await process_end(pidfd, _TAKE_OVER_TIMEOUT_S)
        reap(pidfd)
    finally:
        os.close(pidfd)


def outside(text: str, places: Mapping[str, str]) -> str:
    """`text` with a path inside a sandbox, where it begins with one, as the path outside."""
    for inside, path in places.items():
        if text == inside or text.startswith(inside + "/"):
            return path + text[len(inside) :]
    for inside, path in places.items():  # the folder above, where what is in it has the same name on both sides
        if text == os.path.dirname(inside) and os.path.basename(inside) == os.path.basename(path):
            return os.path.dirname(path)
    return text


def take_over(folder: int, owner: int, uid: int, gid: int) -> None:
    """Give to `uid` all that `owner` left in the folder (an O_PATH descriptor). Follows no link; clears set-id bits.

    Only what belongs to `owner`, a user that no process runs as any more, changes hands, whatever else is put there.
    """
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        for _, names, files, parent in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
            for name in (*names, *files):
                _take_over_one(parent, name, owner, uid, gid)
        if os.fstat(directory).st_uid == owner:
            os.fchown(directory, uid, gid)
    finally:
        os.close(directory)


def _take_over_one(parent: int, name: str, owner: int, uid: int, gid: int) -> None:
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        mode = os.fstat(fd).st_mode
        if os.fstat(fd).st_uid == owner:
            linux.change_owner(fd, uid, gid)  # the kernel clears set-id bits of files
            if stat.S_ISDIR(mode) and mode & 0o6000:
                os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(mode) & 0o1777)
    finally:
        os.close(fd)
