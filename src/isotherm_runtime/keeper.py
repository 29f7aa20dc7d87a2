"""The keeper: pid 1 of a revision, root in the revision's user namespace alone. Runs no code of the user.

It forks the process that imports the user's module, judges from outside whether that can be forked, and for each
instance that the warden asks for has the template clone itself, sets up what the clone may not (ids, mounts),
verifies it by what the kernel says, and only then hands it over. It serves one request at a time and exits on any
breach of its protocol with the template: then the kernel ends the whole revision.

    warden → keeper    boot + [output, tasks…] · start {id, name, uid} + [stream, output, tasks…]
    keeper → warden    ready {unfit, import_ms} · problem {head} · died {status} · late
                       started {id, steps_us} + [pidfd] · refused {id, why, fatal}
    keeper ↔ template  imported · problem · park · parked · fork + [go, stream, output, tasks…] · forked + [pidfd]
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import sys
import time

from isotherm_runtime import linux
from isotherm_runtime.boot import KeeperBoot
from isotherm_runtime.fitness import find_obstacles
from isotherm_runtime.seqpacket import MessageError, PeerGone, close_all, receive, send
from isotherm_runtime.verify import NotConfined, check_groups, check_namespaces, check_status

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Keeper", "main"]

# What the keeper needs in its own namespace: to write maps and files of processes of other ids, signal and look at
# them, change ids in the importer, drop its bounding set, enter mount namespaces and mount there.
_CAP_DAC_OVERRIDE, _CAP_KILL, _CAP_SETGID, _CAP_SETUID, _CAP_SETPCAP = 1, 5, 6, 7, 8
_CAP_SYS_CHROOT, _CAP_SYS_PTRACE, _CAP_SYS_ADMIN = 18, 19, 21
_serving = frozenset(
    {_CAP_DAC_OVERRIDE, _CAP_KILL, _CAP_SETGID, _CAP_SETUID, _CAP_SYS_CHROOT, _CAP_SYS_PTRACE, _CAP_SYS_ADMIN}
)
_importing = _serving | {_CAP_SETPCAP}

_STEP_TIMEOUT_S = 10.0  # of a step of the template or an instance: far more than a busy machine takes
_EXIT_TEMPLATE_GONE, _EXIT_BROKEN = 2, 3


class Keeper:
    """See the module's text. `warden` is the channel to it, blocking."""

    def __init__(self, warden: socket.socket, boot: KeeperBoot, output: int, tasks: list[int]) -> None:
        self._warden = warden
        self._boot = boot
        self._output = output
        self._tasks = tasks  # of the template's control groups
        self._template: socket.socket | None = None
        self._template_end = ""  # what /proc calls the other end of it
        self._own_namespaces = linux.namespaces_of("self") if boot.isolated else {}
        self._home = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("mnt", "pid")] if boot.isolated else []

    def run(self) -> None:
        """Import, then serve until the warden goes."""
        unfit: tuple[str, ...] = ()
        import_ms = 0.0
        if self._boot.template:
            imported = self._import()
            if imported is None:
                return
            unfit, import_ms = imported
        if unfit or not self._boot.template:
            self._spawn(bare=True)
            self._park()
        if self._boot.isolated:
            linux.keep_capabilities(_serving)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps for us, who are pid 1
        self._reap()
        send(self._warden, {"op": "ready", "unfit": list(unfit), "import_ms": import_ms})
        self._serve()

    # The import

    def _import(self) -> tuple[tuple[str, ...], float] | None:
        """`(obstacles, milliseconds)`; None where it failed, which the warden has been told."""
        pid = self._spawn(bare=False)
        assert self._template is not None
        self._template.settimeout(self._boot.init_timeout_s)
        try:
            message, descriptors = receive(self._template)
            close_all(descriptors)
        except PeerGone:
            _, status = os.waitpid(pid, 0)
            send(self._warden, {"op": "died", "status": status})
            return None
        except TimeoutError:
            send(self._warden, {"op": "late"})
            return None
        if message.get("op") != "imported":
            send(self._warden, {"op": "problem", "head": message.get("head")})
            return None
        self._reap()
        names = [str(name)[:100] for name in list(message.get("threads") or [])[:64]]
        obstacles = find_obstacles(
            pid,
            own={self._template_end, *(os.readlink(f"/proc/self/fd/{number}") for number in self._tasks)},
            python_threads=names,
            children=len(self._others()) - 1 if self._boot.isolated else 0,
            native_threads_allowed=self._boot.threads - 1,
        )
        if obstacles:
            self._end_all(pid)
        else:
            self._park()
        return obstacles, float(message.get("import_ms") or 0.0)

    def _spawn(self, *, bare: bool) -> int:
        """Fork the process that imports (or, `bare`, does not) and becomes the template. Its pid."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            from isotherm_runtime.template import run_template

            try:
                self._warden.close()
                ours.close()
                close_all(self._home)
                run_template(theirs, self._boot, self._output, self._tasks, bare=bare)
            except BaseException as exc:  # noqa: BLE001  (nothing may unwind into the keeper's code in the child)
                os.write(2, f"template: {exc!r}\n".encode())
            finally:
                os._exit(1)
        self._template_end = os.readlink(f"/proc/self/fd/{theirs.fileno()}")
        theirs.close()
        if self._template is not None:
            self._template.close()
        self._template = ours
        self._template.settimeout(_STEP_TIMEOUT_S)
        return pid

    def _park(self) -> None:
        """Have it fork once through libc and go on as the child: the clone source of all instances."""
        assert self._template is not None
        self._template.settimeout(self._boot.init_timeout_s)  # hooks of the user run here
        send(self._template, {"op": "park"})
        try:
            message, descriptors = receive(self._template)
        except (PeerGone, TimeoutError) as exc:
            died = isinstance(exc, PeerGone)
            send(self._warden, {"op": "died", "status": None} if died else {"op": "late"})
            os._exit(0)
        close_all(descriptors)
        if message.get("op") == "problem":
            send(self._warden, {"op": "problem", "head": message.get("head")})
            os._exit(0)
        if message.get("op") != "parked":
            raise MessageError("the template did not park")
        self._template.settimeout(_STEP_TIMEOUT_S)

    def _others(self) -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]

    def _end_all(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1 if self._boot.isolated else pid, signal.SIGKILL)  # -1: all in this namespace but ourselves
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1 if self._boot.isolated else pid, 0)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    # Instances

    def _serve(self) -> None:
        assert self._template is not None
        events = select.poll()
        events.register(self._warden, select.POLLIN)
        events.register(self._template, select.POLLIN)
        template = self._template.fileno()
        while True:
            ready = dict(events.poll())
            if template in ready:  # it says nothing unasked: it is gone, or breaks the protocol
                os._exit(_EXIT_TEMPLATE_GONE)
            try:
                message, descriptors = receive(self._warden)
            except PeerGone:
                return
            if not self._start(message, descriptors):
                os._exit(_EXIT_BROKEN)

    def _start(self, message: dict[str, Any], descriptors: list[int]) -> bool:
        """Make one instance. False where the template must not be used again."""
        go, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        go.settimeout(_STEP_TIMEOUT_S)
        pidfd = -1
        times = [time.perf_counter()]
        try:
            assert self._template is not None
            send(self._template, {"op": "fork"}, [theirs.fileno(), *descriptors])
            theirs.close()
            close_all(descriptors)
            descriptors = []
            pidfd = self._await_clone()
            times.append(time.perf_counter())
            self._set_up(go, pidfd, str(message["name"]), int(message["uid"]), times)
            steps = [round((after - before) * 1e6) for before, after in itertools.pairwise(times)]
            go.send(b"s")  # before the warden knows: it may kill it at once
            send(self._warden, {"op": "started", "id": message["id"], "steps_us": steps}, [pidfd])
        except (OSError, ValueError, NotConfined) as exc:  # ValueError: MessageError and what is no pidfd
            if pidfd >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            why = f"it {exc}" if isinstance(exc, NotConfined) else f"its template failed ({type(exc).__name__}: {exc})"
            send(self._warden, {"op": "refused", "id": message["id"], "why": why[:500], "fatal": pidfd < 0})
            return pidfd >= 0  # a template that hangs halfway sits in the instance's groups
        finally:
            go.close()
            theirs.close()
            close_all(descriptors)
            if pidfd >= 0:
                os.close(pidfd)
        return True

    def _await_clone(self) -> int:
        """The pidfd that the template sends, and nothing else. Raises `MessageError`."""
        assert self._template is not None
        message, received = receive(self._template)
        if message.get("op") != "forked" or len(received) != 1:
            close_all(received)
            raise MessageError("the template did not fork")
        return received[0]

    def _set_up(self, go: socket.socket, pidfd: int, name: str, uid: int, times: list[float]) -> None:
        """From a bare clone to a confined process that waits for its last word. Raises where anything is amiss."""
        pid = linux.pid_of(pidfd)
        if self._boot.isolated:
            check_namespaces(pid, self._own_namespaces, own_network=self._boot.own_network)
            self._map_ids(pid, uid)
            times.append(time.perf_counter())
            self._mount(pid, pidfd, uid)
        else:
            times.append(time.perf_counter())
        times.append(time.perf_counter())
        go.send(b"g")
        if go.recv(1) != b"d":
            raise NotConfined("ended before it was confined")
        times.append(time.perf_counter())
        check_status(pid, self._boot, uid)
        check_groups(pid, name, self._boot.groups)
        times.append(time.perf_counter())

    def _map_ids(self, pid: int, uid: int) -> None:
        """User 1000 inside is `uid` of this namespace, and nothing else is anything. Only this namespace may say so."""
        for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {uid} 1")):
            with open(f"/proc/{pid}/{name}", "w") as stream:
                stream.write(text)

    def _mount(self, pid: int, pidfd: int, uid: int) -> None:
        """A /proc and a /tmp of its own: the instance's filter forbids it to mount, so this is done from here."""
        linux.setns(pidfd, linux.NEWNS)
        try:
            self._mount_proc(pid, pidfd)
            options = f"size={self._boot.tmp_bytes},nr_inodes=16384,mode=700,uid={uid},gid={uid}"
            linux.mount("tmpfs", "/tmp", "tmpfs", linux.NOSUID | linux.NODEV, options)  # noqa: S108  (its own)
        finally:
            linux.setns(self._home[0], linux.NEWNS)

    def _mount_proc(self, pid: int, pidfd: int) -> None:
        flags = linux.NOSUID | linux.NODEV | linux.NOEXEC
        try:
            linux.mount("proc", "/proc", "proc", flags, f"pidns=/proc/{pid}/ns/pid")
        except OSError:  # kernels before 6.17: from a child inside the pid namespace
            linux.setns(pidfd, linux.NEWPID)
            helper = os.fork()
            if helper == 0:
                try:
                    linux.mount("proc", "/proc", "proc", flags)
                finally:
                    os._exit(0)
            linux.setns(self._home[1], linux.NEWPID)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(helper, 0)


def _become_keeper(boot: KeeperBoot) -> None:
    linux.set_no_new_privileges()
    linux.set_dumpable()
    if not boot.isolated:
        linux.adopt_orphans()  # as pid 1 of a namespace does by its nature
        return
    for name in linux.NAMESPACES:
        with open(f"/proc/sys/user/max_{name}_namespaces", "w") as stream:
            stream.write(str(boot.max_namespaces))
    linux.keep_capabilities(_importing)


def main(channel_fd: int) -> None:
    """Entry: `channel_fd` is the warden's channel. Never returns."""
    status = _EXIT_BROKEN
    try:
        os.umask(0o022)
        os.setsid()
        linux.set_process_name("iso-keeper")
        linux.set_parent_death_signal(signal.SIGKILL)
        warden = socket.socket(fileno=channel_fd)
        os.set_inheritable(channel_fd, False)
        message, descriptors = receive(warden)
        boot = KeeperBoot.from_message(message)
        _become_keeper(boot)
        Keeper(warden, boot, descriptors[0], descriptors[1:]).run()
        status = 0
    except (OSError, ValueError, KeyError) as exc:
        sys.stderr.write(f"keeper: {type(exc).__name__}: {exc}\n")
    finally:
        sys.stderr.flush()
        os._exit(status)
