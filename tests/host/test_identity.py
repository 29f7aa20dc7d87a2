"""What the host makes of its limits."""

import resource
import subprocess
import sys

from isotherm.host.identity import DESCRIPTORS_AHEAD

PROGRAM = """
from isotherm.host.identity import raise_limits
import os
before = set(os.listdir("/proc/self/fd"))
raise_limits()
assert set(os.listdir("/proc/self/fd")) == before, "a descriptor stayed open"
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("FDSize:")))
"""


def test_the_table_of_descriptors_is_made_ahead() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) >= min(DESCRIPTORS_AHEAD, hard)
