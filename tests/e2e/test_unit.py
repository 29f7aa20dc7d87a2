"""The platform runs under what the systemd unit leaves it: its capabilities, and a machine that is read-only.

Systemd itself is not needed: the same is done by hand. Its system call filter is the one part that is not tried here.
"""

import configparser
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
UNIT = Path(__file__).parents[2] / "deploy/systemd/isotherm.service"
CONFINE = """set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro /
if touch /usr/written /etc/written /var/written 2>/dev/null; then echo "the machine can be written to" >&2; exit 1; fi
shift
exec setpriv --bounding-set="-all,$CAPABILITIES" -- "$@"
"""
CODE = """import socket

def handler(event, context):
    try:
        socket.create_connection(("192.0.2.1", 80), 0.5)
    except OSError as exc:
        return type(exc).__name__
"""


def capabilities() -> list[str]:
    """What the unit leaves in the bounding set, as `setpriv` writes it."""
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBoundingSet=")]
    return [word.removeprefix("CAP_").lower() for line in lines for word in line.partition("=")[2].split()]


@pytest.fixture
def confined(can_isolate: None, data_dir: Path) -> Iterator[Platform]:
    wrapper = ["unshare", "--mount", "--propagation", "slave", "bash", "-c", CONFINE, "confine", str(data_dir)]
    allowed = ",".join(f"+{name}" for name in capabilities())
    running = Platform(data_dir, environment={"CAPABILITIES": allowed}, wrapper=wrapper)
    yield running
    assert running.stop() == 0, running.text_of_log()


def test_functions_run_where_only_the_state_can_be_written_and_root_has_little_left(confined: Platform) -> None:
    status = Path(f"/proc/{confined.pid('warden')}/status").read_text()
    held = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")), 16)
    assert held.bit_count() == len(capabilities())
    confined.function("plain", CODE)
    confined.function("reaching", CODE, egress="open")
    assert confined.invoke("plain").json() in ("OSError", "ConnectionRefusedError")
    assert confined.invoke("reaching").status_code == 200
    assert confined.invoke("plain", {}, headers={"X-Amz-Invocation-Type": "Event"}).status_code == 202


def test_systemd_takes_the_unit_as_it_is(tmp_path: Path) -> None:
    require(shutil.which("systemd-analyze"), "needs systemd-analyze")
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read(UNIT)
    program = unit["Service"]["ExecStart"].split()[0]
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(program, "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])
