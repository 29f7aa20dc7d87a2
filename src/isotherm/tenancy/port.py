"""What tenancy asks of the rooms above it."""

from collections.abc import Collection
from typing import Protocol

from sqlalchemy.orm import Session

__all__ = ["SecretUses"]


class SecretUses(Protocol):
    """Who refers to secrets: workloads do."""

    def users(self, session: Session, namespace: str, names: Collection[str]) -> dict[str, list[str]]:
        """Names of what takes each of these secrets, live, by another alias or building; sorted, and absent where
        there is nothing."""

    def changed(self, session: Session, namespace: str, name: str) -> None:
        """The secret has another value in this transaction, or none: hosts have to hear of all that refers to it.

        Raises `Invalid` where something that refers to it could not take the value.
        """
