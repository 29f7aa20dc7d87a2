"""The values of secrets: sealed in the database, opened for what refers to them and for nobody else."""

from collections.abc import Collection

from sqlalchemy.orm import Session

from isotherm.storage.vault import Vault
from isotherm.tenancy import store

__all__ = ["SealedSecrets"]

_seal = "tenancy.secret"


class SealedSecrets:
    """Thread-safe. Each value is bound to its place and version, so that none can be put in place of another."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, namespace: str, name: str, version: int, value: str) -> bytes:
        return self._vault.seal(_seal, value.encode(), _row(namespace, name, version))

    def values(self, session: Session, namespace: str, names: Collection[str]) -> dict[str, str]:
        """By name; without those that do not exist. Raises `Unavailable` under another master key."""
        if not names:
            return {}
        return {
            row.name: self._vault.open(_seal, row.value, _row(namespace, row.name, row.version)).decode()
            for row in store.list_secrets(session, namespace, names=names, limit=len(names))
        }


def _row(namespace: str, name: str, version: int) -> str:
    return f"{namespace}/{name}/{version}"
