"""`python -m isotherm.host --boot-fd N`: the host process, started by the supervisor."""

import argparse
import sys

import uvloop

from isotherm.base.errors import IsothermError
from isotherm.base.runtimes import find_node
from isotherm.host.process import read_boot, run_host
from isotherm.telemetry.logging import configure_logging, get_logger


def main() -> int:
    """The exit code: 0 after a drain, that of the error tree where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m isotherm.host", description=__doc__)
    parser.add_argument("--boot-fd", type=int, required=True, help="descriptor of the boot message")
    boot_fd = parser.parse_args().boot_fd
    configure_logging("host")
    find_node()  # remembered: asking it later would hold up the loop
    try:
        uvloop.run(run_host(read_boot(boot_fd)))
    except IsothermError as exc:
        get_logger("host").error("the host cannot run", code=exc.code, reason=exc.message)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
