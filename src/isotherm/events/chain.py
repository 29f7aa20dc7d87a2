"""The hash chain over stored events: each carries the SHA-256 of its predecessor's hash and of its own content. Pure.

The content is seven fields as netstrings (`5:hello,`), numbers in decimal, a missing namespace as `-`: id of the
aggregate, version, kind, fact, time, principal, namespace. Whoever keeps one hash elsewhere can tell later that nothing
before it was changed. Denied access has a chain of its own, because old denials make room for new ones.
"""

import hashlib

import msgspec

__all__ = ["DENIALS", "GENESIS", "LOG", "Sealed", "chain_of", "link"]

LOG, DENIALS = "log", "denials"
GENESIS = bytes(32)  # what the first event of a chain follows
_denied = "access"  # the aggregate of denied access


class Sealed(msgspec.Struct, frozen=True):
    """The content of an event that its hash vouches for; its number is not: it only gives the order."""

    originator_id: str
    originator_version: int
    topic: str
    state: bytes
    at_ms: int
    principal_id: str
    namespace: str | None


def chain_of(originator_id: str) -> str:
    """The chain that events of this aggregate belong to."""
    return DENIALS if originator_id == _denied else LOG


def link(previous: bytes, event: Sealed) -> bytes:
    """The hash of an event that follows one with the hash `previous`; 32 bytes."""
    texts = (event.originator_id, str(event.originator_version), event.topic)
    content = previous + b"".join(map(_netstring, (text.encode() for text in texts)))
    content += _netstring(event.state) + _netstring(b"%d" % event.at_ms) + _netstring(event.principal_id.encode())
    content += b"-" if event.namespace is None else _netstring(event.namespace.encode())
    return hashlib.sha256(content).digest()


def _netstring(content: bytes) -> bytes:
    return b"%d:%b," % (len(content), content)
