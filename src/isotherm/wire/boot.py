"""What the supervisor hands to the processes that it starts: JSON on an inherited descriptor, never argv."""

import msgspec

from isotherm.base.settings import Settings

__all__ = ["ControlBoot", "EgressBoot", "HostBoot"]


class HostBoot(msgspec.Struct, frozen=True, kw_only=True):
    """For `python -m isotherm.host`. Descriptors are inherited; paths are absolute."""

    data_dir: str
    supervisor_fd: int  # SEQPACKET: brings a new warden's end at every (re)start of the warden
    api_fds: list[int]  # listening sockets of the API port
    content_fds: list[int]  # listening sockets of the content port
    link_path: str  # control's Unix socket for hosts
    api_path: str  # control's Unix socket for HTTP: what the gateway does not answer itself goes there
    url: str  # as clients reach the API port
    content_url: str
    settings: Settings


class ControlBoot(msgspec.Struct, frozen=True, kw_only=True):
    """For `python -m isotherm.controllers`: the control process."""

    data_dir: str
    api_fd: int  # listening Unix socket for HTTP, already bound
    link_fd: int  # listening Unix socket for hosts, already bound
    ready_fd: int  # control writes one JSON line here once it serves: the bootstrap admin key, made at first start
    url: str
    content_url: str
    settings: Settings


class EgressBoot(msgspec.Struct, frozen=True, kw_only=True):
    """For `python -m isotherm.egress`. It is told no secret."""

    supervisor_fd: int  # SEQPACKET: brings a new warden's end at every (re)start of the warden
    own_ports: list[int]  # the platform's, which no function reaches on any address of this machine
    resolver: str | None  # ADDRESS or ADDRESS:PORT; None: the machine's own
    never: str  # networks between commas
    connections: int  # open at once, of one revision
    idle_s: float
