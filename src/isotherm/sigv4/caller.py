"""The gateway's word to control: which key signed this very request. Control believes nobody else who says so."""

import hmac

from isotherm.base.errors import Unauthenticated
from isotherm.storage.vault import Vault

__all__ = ["CALLER_HEADER", "CallerSeal"]

CALLER_HEADER = "x-isotherm-caller"  # never let in from outside
PURPOSE = "gateway.caller"
VALID_MS = 60_000  # from the moment that the request's head goes to control
MAX_BYTES = 256


class CallerSeal:
    """`KEY-ID TIME-MS MAC`: the MAC binds the key to method, target and time, by the master key that both have."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def write(self, key_id: str, method: bytes, target: bytes, time_ms: int) -> str:
        """The header's value."""
        return f"{key_id} {time_ms} {self._mac(key_id, method, target, time_ms)}"

    def read(self, value: str, method: bytes, target: bytes, time_ms: int) -> str:
        """The key's id. Raises `Unauthenticated` where the gateway did not write this, for this request, just now."""
        key_id, _, rest = value.partition(" ")
        written, _, mac = rest.partition(" ")
        if len(value) > MAX_BYTES or not value.isascii() or not written.isdigit():
            raise _not_ours()
        if not hmac.compare_digest(mac, self._mac(key_id, method, target, int(written))):
            raise _not_ours()
        if abs(time_ms - int(written)) > VALID_MS:
            raise _not_ours()
        return key_id

    def _mac(self, key_id: str, method: bytes, target: bytes, time_ms: int) -> str:
        path, _, query = target.partition(b"?")
        content = b"\n".join((key_id.encode(), method, path, query, str(time_ms).encode()))
        return self._vault.fingerprint(PURPOSE, content)


def _not_ours() -> Unauthenticated:
    return Unauthenticated(f"the header {CALLER_HEADER} is the gateway's own; sign the request, or send a key")
