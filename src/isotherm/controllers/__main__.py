"""`python -m isotherm.controllers --boot-fd N`: the control process, started by the supervisor."""

import argparse
import sys

import uvloop

from isotherm.base.errors import IsothermError
from isotherm.bootstrap import build_control
from isotherm.controllers.process import read_boot, run_control
from isotherm.telemetry.logging import configure_logging, get_logger


def main() -> int:
    """The exit code: 0 after a drain, that of the error tree where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m isotherm.controllers", description=__doc__)
    parser.add_argument("--boot-fd", type=int, required=True, help="descriptor of the boot message")
    boot_fd = parser.parse_args().boot_fd
    configure_logging("control")
    try:
        uvloop.run(run_control(read_boot(boot_fd), build_control))
    except IsothermError as exc:
        get_logger("controllers").error("control cannot run", code=exc.code, reason=exc.message)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
