"""Identifiers. Random where they must not be guessed, counted where they are made on the hot path."""

import hashlib
import itertools
import re
import secrets
from collections.abc import Callable

__all__ = [
    "ALIAS_PATTERN",
    "FUNCTION_PATTERN",
    "NAME_PATTERN",
    "content_digest",
    "is_alias",
    "is_function_name",
    "is_name",
    "new_id",
    "new_token",
    "request_ids",
    "token_digest",
]

NAME_PATTERN = r"^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$"
FUNCTION_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"  # AWS's names of functions
# And of aliases, at most 128 characters: no number, which would be a version.
ALIAS_PATTERN = r"^[0-9]*[A-Za-z_-][A-Za-z0-9_-]*$"
_name = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")
_function = re.compile(FUNCTION_PATTERN.removesuffix("$") + r"\Z")
_alias = re.compile(ALIAS_PATTERN.removesuffix("$") + r"\Z")
_alphabet = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case


def is_name(text: str) -> bool:
    """Whether `text` can name a namespace or a secret (a DNS label that starts with a letter)."""
    return _name.match(text) is not None


def is_function_name(text: str) -> bool:
    """Whether `text` can name a function, as in AWS Lambda."""
    return _function.match(text) is not None


def is_alias(text: str) -> bool:
    """Whether `text` can name an alias, as in AWS Lambda."""
    return len(text) <= 128 and _alias.match(text) is not None


def new_id(prefix: str) -> str:
    """`prefix_` and 26 random characters (130 bits)."""
    return prefix + "_" + "".join(secrets.choice(_alphabet) for _ in range(26))


def new_token() -> str:
    """A key's secret: `iso_` and 256 random bits, base64url."""
    return "iso_" + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """What is stored of a key: SHA-256, hex. Right for random tokens, never for passwords."""
    return hashlib.sha256(token.encode()).hexdigest()


def content_digest(content: bytes) -> str:
    """The name of a blob: SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def request_ids() -> Callable[[], str]:
    """A generator of UUID-shaped request ids: random per process, counted per request (0.3 µs, not guess-proof)."""
    head = secrets.token_hex(10)
    prefix = f"{head[:8]}-{head[8:12]}-4{head[12:15]}-a{head[15:18]}-"
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers):012x}"
