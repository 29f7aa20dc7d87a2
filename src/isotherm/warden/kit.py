"""What an instance needs before it is cloned: a user id, limited groups, a stream and a pipe. One is kept in stock."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from dataclasses import dataclass, field

from isotherm.warden.cgroups import Group, GroupLimits
from isotherm.warden.ranges import UidAllocator
from isotherm_runtime.seqpacket import close_all

__all__ = ["Kit", "KitStock"]

_RESTOCK_DELAY_S = 0.02  # after a start, so as not to compete with it


@dataclass(slots=True)
class Kit:
    """`host_stream` and `host_output` are the host's ends; `descriptors` go to the keeper in this order."""

    uid: int  # within the revision's range
    group: Group | None
    host_stream: socket.socket
    host_output: int
    descriptors: list[int] = field(default_factory=list)  # stream, output, the groups' join files

    def take_host_ends(self) -> list[int]:
        """Stream and output, the caller's from now on."""
        ends = [self.host_stream.detach(), self.host_output]
        self.host_output = -1
        return ends

    def close_host_ends(self) -> None:
        """Harmless where they were taken."""
        self.host_stream.close()
        if self.host_output >= 0:
            close_all([self.host_output])
            self.host_output = -1

    def close(self) -> None:
        """For one that was never used: its group is empty and goes at once."""
        self.close_host_ends()
        close_all(self.descriptors)
        if self.group is not None:
            self.group.remove()


class KitStock:
    """Makes kits, one ahead: half a millisecond that a start then does not wait for."""

    def __init__(self, parent: Group | None, limits: GroupLimits, id_base: int | None) -> None:
        self._parent = parent
        self._limits = limits
        self._uids = UidAllocator()
        self._id_base = id_base  # None: processes have no users of their own
        self._numbers = itertools.count(1)
        self._ready: Kit | None = None
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> Kit:
        """Raises `CgroupError`, `NoIdsLeft`, `OSError`."""
        kit, self._ready = self._ready or self._make(), None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_RESTOCK_DELAY_S, self._restock)
        return kit

    def give_back(self, kit: Kit) -> None:
        """Its user id may be handed out again: nothing of it is left."""
        self._uids.give_back(kit.uid)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._ready is not None:
            self._ready.close()
            self._ready = None

    def _restock(self) -> None:
        self._timer = None
        if self._ready is None:
            try:
                self._ready = self._make()
            except (OSError, RuntimeError):
                return  # whoever asks next is told

    def _make(self) -> Kit:
        uid = self._uids.take()
        group = None if self._parent is None else self._parent.child(f"i{next(self._numbers)}")
        stream, theirs = socket.socketpair()
        output, output_end = os.pipe()
        kit = Kit(uid, group, stream, output, [theirs.detach(), output_end])
        try:
            os.set_blocking(output, False)
            if self._id_base is not None:
                os.fchown(output_end, self._id_base + uid, self._id_base + uid)  # so that /dev/stdout can be opened
            if group is not None:
                group.make(self._limits)
                kit.descriptors += group.open_join_files()
        except BaseException:
            kit.close()
            self._uids.give_back(uid)
            raise
        return kit
