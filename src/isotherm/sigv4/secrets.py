"""What is kept sealed of a key. Control seals it; a host opens it to check signatures."""

import msgspec

from isotherm.storage.vault import Vault

__all__ = ["KeySecrets", "open_key_secrets", "seal_key_secrets"]

_purpose = "tenancy.key"


class KeySecrets(msgspec.Struct, frozen=True):
    """The token of the bootstrap admin alone is kept, to be shown at each start."""

    secret_access_key: str
    token: str | None = None


def seal_key_secrets(vault: Vault, key_id: str, secrets: KeySecrets) -> bytes:
    """Bound to the key's id: no row can stand in for another."""
    return vault.seal(_purpose, msgspec.json.encode(secrets), key_id)


def open_key_secrets(vault: Vault, key_id: str, sealed: bytes) -> KeySecrets:
    """Raises `Unavailable` under another master key."""
    return msgspec.json.decode(vault.open(_purpose, sealed, key_id), type=KeySecrets)
