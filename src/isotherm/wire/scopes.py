"""Scopes of keys: `WORD` or `WORD:PATTERN`, such as `invoke:img-*`. They narrow what the key's role allows. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from isotherm.base.errors import Invalid

__all__ = ["ANY_FUNCTION", "MAX_SCOPES", "WORDS", "Scope", "ScopeWord", "parse_scope", "parse_scopes"]

ScopeWord = Literal["read", "logs", "invoke", "deploy", "delete", "queue", "secrets", "audit"]
WORDS: Final[tuple[ScopeWord, ...]] = get_args(ScopeWord)
OF_NAMESPACE: Final = frozenset({"secrets", "audit"})  # these concern no function, so they take no pattern
MAX_SCOPES = 20
ANY_FUNCTION = "*"  # as the function that is asked for: some function, whichever it turns out to be
_pattern = re.compile(r"[A-Za-z0-9_*-]{1,64}")


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope. `pattern` None: all functions, and what concerns the namespace as a whole."""

    word: ScopeWord
    pattern: str | None = None

    def __str__(self) -> str:
        return self.word if self.pattern is None else f"{self.word}:{self.pattern}"

    def covers(self, function: str | None) -> bool:
        """Whether it reaches a function of this name; None: the namespace as a whole."""
        if self.pattern is None or function == ANY_FUNCTION:
            return True
        return function is not None and _matches(self.pattern, function)


def parse_scope(text: str) -> Scope:
    """Raises `Invalid` naming what there is."""
    word, colon, pattern = text.partition(":")
    known = next((each for each in WORDS if each == word), None)
    if known is None:
        raise Invalid(f"{text[:100]!r} is no scope; there are {', '.join(WORDS)}, each with :PATTERN of functions")
    if not colon:
        return Scope(known)
    if known in OF_NAMESPACE:
        raise Invalid(f"the scope {word} takes no pattern: it concerns no function", scope=text[:100])
    if not _pattern.fullmatch(pattern):
        raise Invalid(
            f"{pattern[:100]!r} matches no name of a function: use letters, digits, hyphens, underscores, and * "
            "for any of them",
            scope=text[:100],
        )
    return Scope(known, pattern)


def parse_scopes(texts: list[str] | None) -> tuple[Scope, ...] | None:
    """None: all that the role allows. Raises `Invalid` (none at all, too many, not one)."""
    if texts is None:
        return None
    if not 1 <= len(texts) <= MAX_SCOPES:
        raise Invalid(f"a key has 1 to {MAX_SCOPES} scopes, or none said, which is all that its role allows")
    return tuple(dict.fromkeys(parse_scope(text) for text in texts))


def _matches(pattern: str, name: str) -> bool:
    """`*` stands for any characters. In time that grows with the lengths alone, whatever the pattern is."""
    first, *parts = pattern.split("*")
    if not parts:
        return name == first
    last = parts.pop()
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in parts:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
