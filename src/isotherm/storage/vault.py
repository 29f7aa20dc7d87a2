"""Encryption at rest: AES-GCM under keys derived from one master key, which lies in the data folder or the environment.

Both wings use it: control for secrets in its database, a host for its snapshot of the desired state.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isotherm.base.errors import Invalid, Unavailable
from isotherm.storage.durable import sync_folder

__all__ = [
    "MASTER_KEY_VARIABLE",
    "Vault",
    "create_master_key",
    "master_key_path",
    "read_master_key",
    "write_master_key",
]

MASTER_KEY_VARIABLE = "ISOTHERM_MASTER_KEY"
_key_bytes = 32
_nonce_bytes = 12


class Vault:
    """Seals bytes for a purpose. Each purpose has a key of its own (HMAC-SHA256 of the master key); thread-safe.

    `context` names what is sealed (a row's id): opening it under another name fails, so rows cannot be swapped.
    """

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _key_bytes:
            raise Invalid(f"the master key has {len(master_key)} bytes; it must have {_key_bytes}")
        self._master_key = master_key
        self._ciphers: dict[str, AESGCM] = {}

    def seal(self, purpose: str, plain: bytes, context: str = "") -> bytes:
        """`plain`, encrypted and authenticated: a random nonce, then the ciphertext."""
        nonce = secrets.token_bytes(_nonce_bytes)
        return nonce + self._cipher(purpose).encrypt(nonce, plain, context.encode())

    def open(self, purpose: str, sealed: bytes, context: str = "") -> bytes:
        """What was sealed. Raises `Unavailable` where the master key is another one, or the bytes were changed."""
        try:
            return self._cipher(purpose).decrypt(sealed[:_nonce_bytes], sealed[_nonce_bytes:], context.encode())
        except (InvalidTag, ValueError) as exc:
            raise Unavailable(
                f"what is stored encrypted ({purpose} {context}) cannot be read with this master key; "
                f"start with the keys/master.key (or {MASTER_KEY_VARIABLE}) that this data was made with"
            ) from exc

    def fingerprint(self, purpose: str, content: bytes) -> str:
        """A keyed digest, hex: equal for equal content, and of no use for guessing it."""
        return hmac.digest(self._derive("fingerprint:" + purpose), content, "sha256").hex()

    def _cipher(self, purpose: str) -> AESGCM:
        cipher = self._ciphers.get(purpose)
        if cipher is None:
            cipher = self._ciphers[purpose] = AESGCM(self._derive("seal:" + purpose))
        return cipher

    def _derive(self, label: str) -> bytes:
        return hmac.digest(self._master_key, label.encode(), "sha256")


def master_key_path(data_dir: Path) -> Path:
    return data_dir / "keys" / "master.key"


def read_master_key(data_dir: Path, environ: Mapping[str, str]) -> bytes | None:
    """The master key of the environment or of the data folder; None where there is none yet. Raises `Invalid`."""
    text = environ.get(MASTER_KEY_VARIABLE)
    if text:
        return _decode(text)
    path = master_key_path(data_dir)
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(key) != _key_bytes:
        raise Invalid(f"{path} has {len(key)} bytes; a master key has {_key_bytes}: restore it from a backup")
    return key


def create_master_key(data_dir: Path, environ: Mapping[str, str]) -> bytes:
    """The master key; made (file mode 0600, written whole or not at all) where there is none yet. Raises `Invalid`."""
    found = read_master_key(data_dir, environ)
    return write_master_key(data_dir, secrets.token_bytes(_key_bytes)) if found is None else found


def write_master_key(data_dir: Path, key: bytes) -> bytes:
    """Put `key` where there is none yet; returns the one that is there then."""
    path = master_key_path(data_dir)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".master.key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        _publish(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return path.read_bytes()


def _publish(fresh: Path, path: Path) -> None:
    try:
        path.hardlink_to(fresh)  # fails where another process was first: then its key counts
    except FileExistsError:
        return
    sync_folder(path.parent)


def _decode(text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Invalid(f"{MASTER_KEY_VARIABLE} is not base64; make one with `openssl rand -base64 32`") from exc
    if len(key) != _key_bytes:
        raise Invalid(f"{MASTER_KEY_VARIABLE} has {len(key)} bytes; it must be {_key_bytes}, as base64")
    return key
