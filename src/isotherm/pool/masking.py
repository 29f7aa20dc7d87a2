"""Hides the values of a revision's secrets in what its code prints and raises. Pure.

What is found is the value itself, each line of it, and how JSON and `repr` write it. A value that the code has changed
(reversed, hashed, in base64) or spread over two lines is not found.
"""

import json
import re
from typing import Any

from isotherm.base.errors import IsothermError
from isotherm.wire.desired import RevisionSpec

__all__ = ["MASK", "Mask", "mask_of"]

MASK = "********"
MIN_CHARS = 4  # what is shorter would be found everywhere, and be guessed from what is left


def mask_of(spec: RevisionSpec) -> "Mask | None":
    """None where the revision has no secrets, or none that is long enough."""
    hidden = {form for name in spec.secrets if name in spec.env for form in _forms(spec.env[name])}
    return Mask(hidden) if hidden else None


class Mask:
    """Replaces each of `hidden` by asterisks; of two that begin at the same place the longer one."""

    def __init__(self, hidden: set[str]) -> None:
        pattern = "|".join(re.escape(form) for form in sorted(hidden, key=len, reverse=True))
        self._text = re.compile(pattern)
        self._bytes = re.compile(pattern.encode())

    def text(self, text: str) -> str:
        return self._text.sub(MASK, text)

    def bytes(self, content: bytes) -> bytes:
        return self._bytes.sub(MASK.encode(), content)

    def error(self, error: IsothermError) -> None:
        """In its message and in all that it carries."""
        error.message = self.text(error.message)
        error.args = (error.message,)
        error.data = self._value(error.data)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._value(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(part) for part in value]
        return value


def _forms(value: str) -> set[str]:
    forms = {value, json.dumps(value)[1:-1], repr(value)[1:-1], *(line.strip() for line in value.splitlines())}
    return {form for form in forms if len(form) >= MIN_CHARS}
