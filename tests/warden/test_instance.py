"""How the end of an instance is told from its wait status and its groups."""

import signal
from typing import cast

import pytest

from isotherm.warden.cgroups import Group
from isotherm.warden.instance import exit_message


class Killed:
    """A group in which the kernel has ended so many processes for want of memory."""

    def __init__(self, kills: int) -> None:
        self.kills = kills

    def out_of_memory_kills(self) -> int:
        return self.kills


@pytest.mark.parametrize(
    ("status", "kills", "out_of_memory"),
    [
        (int(signal.SIGKILL), 1, True),
        (int(signal.SIGKILL), 0, False),
        (137 << 8, 1, True),  # a bridge whose bootstrap was killed
        (137 << 8, 0, False),
        (3 << 8, 1, False),  # a child of the handler was, and the handler lived on
        (None, 1, True),
    ],
)
def test_out_of_memory_is_what_the_kernel_ended_for_it(status: int | None, kills: int, out_of_memory: bool) -> None:
    message = exit_message(status, cast("Group", Killed(kills)), asked=False)
    assert message["out_of_memory"] is out_of_memory
    assert exit_message(status, cast("Group", Killed(kills)), asked=True)["out_of_memory"] is False
