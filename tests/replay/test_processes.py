"""Finding the processes of a platform, and ending exactly those."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.base.errors import Forbidden, Invalid
from isotherm.replay.processes import CONTROL, SUPERVISOR, Process, ProcessTable, kill_process

LISTENING = (
    "  0: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0"
)
NAME = "replay-0007-0123456789"


class Machine:
    """A folder like /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "net").mkdir(parents=True)
        self.sockets: list[str] = []
        self.listen("0100007F:1B9E", 77)

    def listen(self, at: str, inode: int, state: str = "0A") -> None:
        self.sockets.append(LISTENING.format(at=at, state=state, inode=inode))
        (self.root / "net" / "tcp").write_text("\n".join(["  sl  local_address", *self.sockets]) + "\n")

    def process(
        self,
        pid: int,
        parent: int,
        module: str = "",
        *,
        inner: str = "",
        comm: str = "python",
        opens: tuple[str, ...] = (),
    ) -> Process:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        # A name may hold what a careless reader takes for fields.
        (folder / "stat").write_text(f"{pid} (a) b ( c) S {parent} " + "0 " * 17 + f"{pid * 10} 0 0\n")
        (folder / "comm").write_text(comm + "\n")
        (folder / "status").write_text(f"Name:\t{comm}\nNSpid:\t{pid}{inner}\nThreads:\t1\n")
        words = ["python", "-P", "-m", module, "--boot-fd", "3"] if module else ["python"]
        (folder / "cmdline").write_text("\0".join(words) + "\0")
        for number, target in enumerate(opens):
            (folder / "fd" / str(number)).symlink_to(target)
        return Process(pid, parent, pid * 10)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Two platforms; that at port 7070 has two revisions with an instance each, one of which has a child."""
    made = Machine(tmp_path / "proc")
    made.process(10, 1, SUPERVISOR, opens=("/dev/null", "socket:[77]"))
    made.process(11, 10, "isotherm.warden")
    made.process(12, 10, CONTROL)
    made.process(13, 11, comm="iso-nursery")
    made.process(14, 11, inner="\t1", comm="iso-keeper")
    made.process(15, 14, inner="\t2", comm="iso-template")
    made.process(16, 15, inner="\t3\t1", opens=("/dev/null", f"/tmp/{NAME} (deleted)"))
    made.process(17, 16, inner="\t4\t2", comm="iso-instance")
    made.process(18, 14, inner="\t5\t1", comm="iso-instance")
    made.process(20, 1, SUPERVISOR, opens=("socket:[99]",))
    made.process(21, 20, CONTROL)
    made.process(30, 1, comm="iso-instance", inner="\t3\t1")
    return made


def test_the_supervisor_is_who_listens(machine: Machine) -> None:
    table = ProcessTable(machine.root)
    assert table.supervisor_at("127.0.0.1", 0x1B9E).pid == 10
    machine.listen("00000000:1B9F", 99)
    assert table.supervisor_at("127.0.0.1", 0x1B9F).pid == 20


def test_who_only_connects_is_not_taken_for_it(machine: Machine) -> None:
    machine.listen("0100007F:2222", 99, state="01")
    with pytest.raises(Invalid, match="no platform of this machine"):
        ProcessTable(machine.root).supervisor_at("127.0.0.1", 0x2222)


def test_another_machine_is_refused(machine: Machine) -> None:
    with pytest.raises(Invalid, match="on another machine"):
        ProcessTable(machine.root).supervisor_at("192.0.2.1", 7070)


def test_a_pid_is_of_the_console_or_the_supervisor(machine: Machine) -> None:
    table = ProcessTable(machine.root)
    machine.process(40, 1)
    machine.process(41, 40, SUPERVISOR)
    assert table.supervisor_of(40).pid == table.supervisor_of(41).pid == 41
    with pytest.raises(Invalid, match="ready file"):
        table.supervisor_of(12)


def test_children_are_those_of_this_platform(machine: Machine) -> None:
    table = ProcessTable(machine.root)
    supervisor = table.supervisor_at("127.0.0.1", 0x1B9E)
    control = table.child(supervisor, CONTROL)
    assert control is not None
    assert control.pid == 12
    assert table.child(supervisor, "isotherm.host") is None


def test_instances_are_the_first_of_their_namespace_below_the_warden(machine: Machine) -> None:
    table = ProcessTable(machine.root)
    found = table.instances(table.supervisor_at("127.0.0.1", 0x1B9E))
    assert [process.pid for process in found] == [16, 18]
    assert [table.function_of(process) for process in found] == [NAME, None]


def test_without_namespaces_the_name_says_it(machine: Machine) -> None:
    machine.process(22, 20, "isotherm.warden")
    machine.process(23, 22, comm="iso-template")
    machine.process(24, 23, comm="iso-instance")
    table = ProcessTable(machine.root)
    assert [process.pid for process in table.instances(table.supervisor_of(20))] == [24]


@pytest.fixture
def victim() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait(10)


def seen(pid: int) -> Process:
    found = ProcessTable()._look(pid)
    assert found is not None
    return found


def test_a_process_is_killed(victim: "subprocess.Popen[bytes]") -> None:
    process = seen(victim.pid)
    assert kill_process(process, 0)
    assert kill_process(process)
    assert victim.wait(10) == -9
    assert not kill_process(process)


def test_a_later_process_of_the_same_number_is_left_alone(victim: "subprocess.Popen[bytes]") -> None:
    process = seen(victim.pid)
    assert not kill_process(Process(process.pid, process.parent, process.started - 1))
    assert victim.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user, as root")
def test_somebody_elses_process_is_refused(victim: "subprocess.Popen[bytes]") -> None:
    process = seen(victim.pid)
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            kill_process(process, 0)
        except Forbidden:
            os._exit(42)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_what_listens_here_and_is_no_platform_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Invalid, match="--pid says which"):
        ProcessTable().supervisor_at("127.0.0.1", server.getsockname()[1])
