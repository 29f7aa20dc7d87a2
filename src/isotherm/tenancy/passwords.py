"""Passwords: what one must be like, and argon2id, which makes guessing them costly.

Parameters are those of the OWASP Password Storage Cheat Sheet (19 MiB, two passes, one lane). A hash releases the
interpreter's lock, so that what it costs is one core for some ten milliseconds.
"""

import unicodedata

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from isotherm.base.errors import Invalid

__all__ = ["MAX_PASSWORD", "MIN_PASSWORD", "Hasher", "check_password", "prepared"]

MIN_PASSWORD = 12  # characters
MAX_PASSWORD = 256
_MIN_DISTINCT = 5
_MIN_NAME = 4  # shorter names are in many good passwords


class Hasher:
    """Thread-safe. Tests take cheaper parameters."""

    def __init__(self, *, memory_kib: int = 19 * 1024, passes: int = 2, lanes: int = 1) -> None:
        self._argon = argon2.PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._nobody = self._argon.hash("nobody's password, so that an unknown name costs as much as a known one")

    def hash(self, password: str) -> str:
        """In the form `$argon2id$v=19$m=…`."""
        return self._argon.hash(prepared(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """Costs the same where there is nothing to compare with."""
        try:
            good = self._argon.verify(self._nobody if stored is None else stored, prepared(password))
        except (VerificationError, InvalidHashError):
            return False
        return good and stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether it was made with other parameters than these."""
        return self._argon.check_needs_rehash(stored)


def check_password(password: str, name: str) -> None:
    """Raises `Invalid`; the message says nothing of the password."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise Invalid(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters", key="password")
    try:
        password.encode()
    except UnicodeEncodeError as exc:
        raise Invalid("a password is text: this has half of a surrogate pair in it", key="password") from exc
    folded = prepared(password).decode().casefold()
    if len(set(folded)) < _MIN_DISTINCT:
        raise Invalid(f"the password repeats itself: it needs {_MIN_DISTINCT} different characters", key="password")
    for part in {name, name.partition("@")[0]}:
        if len(part) >= _MIN_NAME and (part in folded or part[::-1] in folded):
            raise Invalid("the password must not have the name in it", key="password")


def prepared(password: str) -> bytes:
    """The same bytes for the same text however a keyboard composes it (RFC 8265: NFC)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
