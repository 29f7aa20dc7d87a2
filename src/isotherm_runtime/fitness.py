"""Whether instances can be forked from a process that has imported the user's module, seen from outside.

Shared open descriptions, shared writable memory, children and threads would tie the forks to each other or be
missing in them. Everything but the names of Python's threads comes from the kernel.
"""

from __future__ import annotations

import os
from collections import Counter

TYPE_CHECKING = False  # `typing` takes long to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["find_obstacles"]

_harmless = {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}
_most_reasons = 8


def find_obstacles(
    pid: int, *, own: Collection[str], python_threads: Iterable[str], children: int, native_threads_allowed: int
) -> tuple[str, ...]:
    """Reasons in the user's words; empty where it can be forked.

    `own` are the targets of descriptors that are the platform's; `children` is how many other processes there are.
    """
    threads = [name for name in python_threads if name != "MainThread"]
    reasons = [*_descriptors(pid, own), *_shared_memory(pid)]
    if threads:
        named = ", ".join(threads[:4]) + (", …" if len(threads) > 4 else "")
        reasons.append(f"{len(threads)} thread{'s' if len(threads) > 1 else ''}: {named}")
    native = len(os.listdir(f"/proc/{pid}/task")) - 1 - len(threads)
    if native > native_threads_allowed:
        reasons.append(f"{native} thread{'s' if native > 1 else ''} of a native library")
    if children:
        reasons.append("a child process" if children == 1 else f"{children} child processes")
    return tuple(reasons[:_most_reasons])


def _descriptors(pid: int, own: Collection[str]) -> list[str]:
    kinds: Counter[str] = Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        if int(number) <= 2:
            continue
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        if target not in own:
            kinds[_kind(target)] += 1
    if kinds["an asyncio event loop"]:
        kinds[_socket] -= 2  # the loop's own pair
        for part in ("a timer or event descriptor", "an open pipe"):
            kinds.pop(part, None)
    del kinds[""]
    return [kind if count == 1 else f"{kind} (and {count - 1} more)" for kind, count in kinds.items() if count > 0]


_socket = "an open socket"


def _kind(target: str) -> str:
    if target in _harmless:
        return ""
    if target.startswith("socket:"):
        return _socket
    if target.startswith("pipe:"):
        return "an open pipe"
    if target == "anon_inode:[eventpoll]":
        return "an asyncio event loop"
    if target.startswith("anon_inode:"):
        return "a timer or event descriptor"
    if target.startswith("/memfd:"):
        return "a memory file"
    return f"an open file: {target[:200]}"


def _shared_memory(pid: int) -> list[str]:
    found: list[str] = []
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            fields = line.rstrip("\n").split(None, 5)
            permissions, name = fields[1], fields[5] if len(fields) > 5 else ""
            if permissions[1] == "w" and permissions[3] == "s":
                found.append(f"shared memory {name[:200]}".rstrip())
    return found[:4]
