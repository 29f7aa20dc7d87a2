"""Wrong passwords: counted by name, address and device, and when the next one may be tried.

A count is kept for every name alike, whether somebody has it or not, so that no answer and no time tells. It is kept
under a keyed digest: neither names that users mistype nor addresses are in the database.

Somebody who guesses on purpose locks a name for a quarter of an hour at most, time and again. That must not keep its
owner out: a login from a device that logged in before (it has a token for this) is counted for that device alone.
"""

import math
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from isotherm.base.errors import TooManyRequests
from isotherm.storage.vault import Vault
from isotherm.tenancy import user_store

__all__ = ["FORGOTTEN_AFTER_MS", "Attempts", "Limits", "Place", "locked_until_ms"]

FORGOTTEN_AFTER_MS: Final = 24 * 3_600_000  # a count is dropped when nothing failed for so long
_purpose = "tenancy.attempts"


@dataclass(frozen=True, slots=True)
class Limits:
    """`free` failures cost nothing; the next one locks for `first_ms`, each further one twice as long, at most
    `most_ms`."""

    free: int
    first_ms: int
    most_ms: int


OF_NAME: Final = Limits(free=4, first_ms=15_000, most_ms=900_000)
OF_DEVICE: Final = Limits(free=9, first_ms=15_000, most_ms=900_000)
OF_ADDRESS: Final = Limits(free=29, first_ms=15_000, most_ms=300_000)  # a proxy or an office may be one address


@dataclass(frozen=True, slots=True)
class Place:
    """Where a failure counts: digests, each with its limits."""

    counts: tuple[tuple[str, Limits], ...]


def locked_until_ms(limits: Limits, failures: int, now_ms: int) -> int:
    """Until when nothing is tried after so many failures; 0: not locked. Pure."""
    beyond = failures - limits.free
    if beyond <= 0:
        return 0
    return now_ms + min(limits.first_ms << min(beyond - 1, 30), limits.most_ms)


class Attempts:
    """In the transactions of `Logins`. Thread-safe."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def place(self, name: str, address: str, device: str | None) -> Place:
        """`device`: what a former login gave; of no effect where it is not one of this name's."""
        if device is not None and self.is_device_of(name, device):
            return Place(((self._digest(f"device:{device}"), OF_DEVICE),))
        return Place(((self.of_name(name), OF_NAME), (self._digest(f"address:{address}"), OF_ADDRESS)))

    def place_of_session(self, session_id: str) -> Place:
        """Of somebody who is logged in: others can neither count there nor lock it."""
        return Place(((self._digest(f"session:{session_id}"), OF_DEVICE),))

    def of_name(self, name: str) -> str:
        return self._digest(f"name:{name}")

    def check(self, session: Session, place: Place, now_ms: int) -> None:
        """Raises `TooManyRequests` where one of the counts is locked. What is refused does not count."""
        rows = user_store.find_attempts(session, [digest for digest, _ in place.counts])
        until_ms = max((row.until_ms for row in rows), default=0)
        if until_ms > now_ms:
            wait_s = (until_ms - now_ms) / 1000
            raise TooManyRequests(
                f"too many wrong passwords: try again in {math.ceil(wait_s)} s, or where you logged in before; an "
                "admin can end it with `isotherm users unlock`",
                retry_after_s=wait_s,
            )

    def failed(self, session: Session, place: Place, user_id: str | None, now_ms: int) -> bool:
        """Count it; whether something is locked now. `user_id` is for the audit alone."""
        present = {row.digest: row for row in user_store.find_attempts(session, [d for d, _ in place.counts])}
        locked = False
        for digest, limits in place.counts:
            former = present.get(digest)
            failures = 1
            if former is not None and now_ms - former.at_ms < FORGOTTEN_AFTER_MS:
                failures += former.failures
            until_ms = locked_until_ms(limits, failures, now_ms)
            locked = locked or until_ms > 0
            user_store.put_attempt(
                session,
                user_store.AttemptRow(
                    digest=digest,
                    failures=failures,
                    at_ms=now_ms,
                    until_ms=until_ms,
                    user_id=user_id if limits is OF_NAME else None,
                    told=False,
                ),
            )
        return locked

    def succeeded(self, session: Session, place: Place) -> None:
        """The counts of the name and the device are dropped. That of the address stays: one good login of an attacker's
        own would otherwise free it."""
        user_store.delete_attempts(session, [digest for digest, limits in place.counts if limits is not OF_ADDRESS])

    def device(self, name: str, nonce: str) -> str:
        """What a login gives to the device that it came from."""
        return f"isd_{nonce}.{self._seal(name, nonce)}"

    def is_device_of(self, name: str, device: str) -> bool:
        nonce, _, seal = device.removeprefix("isd_").partition(".")
        return device.startswith("isd_") and user_store.same(seal, self._seal(name, nonce))

    def _seal(self, name: str, nonce: str) -> str:
        return self._vault.fingerprint("tenancy.device", f"{nonce}:{name}".encode())

    def _digest(self, what: str) -> str:
        return self._vault.fingerprint(_purpose, what.encode())
