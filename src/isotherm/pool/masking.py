"""Hides the values of a revision's secrets in what its code prints and raises. Pure.

What is found is the value itself, each line of it, and how JSON and `repr` write it; of all these the 64 longest. A
value that the code has changed (reversed, hashed, in base64) or spread over two lines is not found.
"""

import json
from typing import Any

from isotherm.base.errors import IsothermError
from isotherm.wire.desired import RevisionSpec

__all__ = ["MASK", "Mask", "mask_of"]

MASK = "********"
MASK_BYTES = MASK.encode()
MAX_FORMS = 64  # of all secrets together: 0.5 ms for a line of 64 KiB
MIN_CHARS = 4  # what is shorter would be found everywhere, and be guessed from what is left


def mask_of(spec: RevisionSpec) -> "Mask | None":
    """None where the revision has no secrets, or none that is long enough."""
    hidden = {form for name in spec.secrets if name in spec.env for form in _forms(spec.env[name])}
    return Mask(hidden) if hidden else None


class Mask:
    """Replaces each of `hidden` by asterisks, the longest first. It works on the loop, beside calls, so it looks for a
    bounded number, each by a plain search: one pattern of all would try every one of them at every character."""

    def __init__(self, hidden: set[str]) -> None:
        self._texts = sorted(hidden, key=len, reverse=True)[:MAX_FORMS]
        self._bytes = [text.encode() for text in self._texts]

    def text(self, text: str) -> str:
        for hidden in self._texts:
            text = text.replace(hidden, MASK)
        return text

    def bytes(self, content: bytes) -> bytes:
        for hidden in self._bytes:
            content = content.replace(hidden, MASK_BYTES)
        return content

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
