"""What the warden tells a revision's keeper, and it the template, once: plain values, JSON on their channel."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` and `dataclasses` take longer to import than all of this package
if TYPE_CHECKING:
    from typing import Any

__all__ = ["KeeperBoot"]


class KeeperBoot:
    """`groups` is how many control groups each process must be in; 0 where there are none.

    `isolated` False: no namespaces and user ids of their own; what else can be kept is kept.
    """

    __slots__ = (
        "config",
        "executable",
        "groups",
        "init_timeout_s",
        "isolated",
        "layers",
        "max_namespaces",
        "memory_bytes",
        "own_network",
        "path",
        "seccomp",
        "template",
        "threads",
        "tmp_bytes",
    )

    def __init__(
        self,
        *,
        config: str,
        path: list[str],
        layers: str = "",
        template: bool,
        threads: int,
        tmp_bytes: int,
        memory_bytes: int,
        init_timeout_s: float,
        isolated: bool,
        groups: int,
        seccomp: bool,
        max_namespaces: int,
        own_network: bool,
        executable: str,
    ) -> None:
        self.config = config  # JSON of RuntimeConfig; opaque to the keeper
        self.layers = layers  # where the sandbox sees what layers bring; "": there are none
        self.path = path  # entries of sys.path for the user's code, as the sandbox sees them
        self.template = template  # import in the template
        self.threads = threads  # of BLAS and OpenMP
        self.tmp_bytes = tmp_bytes
        self.memory_bytes = memory_bytes
        self.init_timeout_s = init_timeout_s
        self.isolated = isolated
        self.groups = groups
        self.seccomp = seccomp
        self.max_namespaces = max_namespaces  # of each kind, in the whole revision
        self.own_network = own_network  # each instance has one; otherwise all are in the revision's, which has egress
        self.executable = executable  # what runs the user's code: this Python, or another program

    def to_message(self) -> dict[str, Any]:
        return {"op": "boot"} | {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> KeeperBoot:
        return cls(**{name: message[name] for name in cls.__slots__})
