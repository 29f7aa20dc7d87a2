"""Opening what the host names: below its own folder, through no link, readable by sandboxes."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from isotherm.warden.request import BadRequest
from isotherm_runtime import linux
from isotherm_runtime.seqpacket import close_all

__all__ = ["HostFolder"]


@dataclass(frozen=True, slots=True)
class HostFolder:
    """DATA/host, and who owns it."""

    path: str
    uid: int

    def open(self, relative: str, *, readable_by_all: bool) -> int:
        """An O_PATH descriptor of what lies there, reached through no link. Raises `BadRequest`."""
        try:
            directory = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as exc:
            raise BadRequest(f"{self.path}: {exc.strerror}") from exc
        try:
            if os.fstat(directory).st_uid != self.uid:
                raise BadRequest(f"{self.path} does not belong to the host process (uid {self.uid})")
            found = linux.open_beneath(directory, relative)
        except (OSError, UnicodeError) as exc:
            raise BadRequest(f"{self.path}/{relative}: {exc}") from exc
        finally:
            os.close(directory)
        mode = os.fstat(found).st_mode
        wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
        if readable_by_all and mode & wanted != wanted:
            close_all([found])
            raise BadRequest(f"{self.path}/{relative} is not readable by all: sandboxes have users of their own")
        return found
