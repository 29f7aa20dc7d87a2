"""One way into the platform: who may take it, and what it then answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["ANY_ROLE", "EVERYBODY", "LOGGED_IN", "Way"]

EVERYBODY, LOGGED_IN, ANY_ROLE = "everybody", "logged in", "any role"


@dataclass(frozen=True)
class Way:
    """`roles` (admin, developer, viewer, invoker) let in: in the namespace, or everywhere where there is none in the
    path or it is `platform`. `answers` are what who is let in gets; names of what would be changed are of nothing.
    `scopes` reach it; `loose`: also with a pattern, though it names no function.
    """

    roles: str
    answers: int | tuple[int, ...]
    scopes: str = ""
    platform: bool = False
    query: bool = False  # the namespace is in the query
    loose: bool = False
    without: int = 401  # what who sends no key at all gets: AWS's services say 403 then
    headers: tuple[tuple[str, str], ...] = ()
    bearer: bool = False  # it takes no signature
    given: Mapping[str, Any] | None = None  # the input of an operation of AWS's

    @property
    def allowed(self) -> tuple[int, ...]:
        return self.answers if isinstance(self.answers, tuple) else (self.answers,)

    @property
    def unknown(self) -> int:
        """What gets who sends a key that is not known."""
        return 401 if self.given is None else 403

    def replaced(self, **changes: Any) -> "Way":
        return replace(self, **changes)
