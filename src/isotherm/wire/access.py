"""Access tokens of users: what they say, and how they are checked. Control signs them; each host checks them alone.

A token is a JWT (RFC 7519) signed with Ed25519. It says who, in which session, and until when; what that user may do
is desired state, so that a change of roles does not wait for a new token.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from isotherm.base.errors import Unauthenticated
from isotherm.wire.desired import TokenKeySpec

__all__ = ["ALGORITHM", "AUDIENCE", "KEY_PREFIX", "MAX_TOKEN_BYTES", "Claims", "TokenCheck", "is_access_token"]

ALGORITHM = "EdDSA"
AUDIENCE = "isotherm"
KEY_PREFIX = "isk_"  # of the ids of signing keys, by which a token of a platform is told from any other
MAX_TOKEN_BYTES = 500
_required = ["exp", "iat", "iss", "aud", "sub"]


_Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,4}_[0-9a-z]{1,40}$")]


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says. `ver` is the user's `version` of when it was made."""

    sub: _Id  # principal id
    sid: _Id  # session id
    ver: int
    exp: int  # seconds since the epoch


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    kid: str
    alg: str


_claims = msgspec.json.Decoder(Claims)
_head = msgspec.json.Decoder(_Head)


class TokenCheck:
    """The keys that this process trusts. Not thread-safe for `put` and `remove`; `check` may run beside them."""

    def __init__(self, time_ms: Callable[[], int]) -> None:
        self._time_ms = time_ms
        self._keys: dict[str, tuple[Ed25519PublicKey, str]] = {}

    def put(self, token_key: TokenKeySpec) -> None:
        self._keys[token_key.id] = (Ed25519PublicKey.from_public_bytes(token_key.public), token_key.issuer)

    def remove(self, token_key_id: str) -> None:
        self._keys.pop(token_key_id, None)

    def check(self, token: str, plausible: Callable[[Claims], bool]) -> Claims:
        """What a valid token says. Raises `Unauthenticated` with one message for all that is wrong but its age.

        `plausible` is asked before the signature is checked, which is what costs: who does not know the id of a user
        cannot make us do it.
        """
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise _refused()
        head, body = _parts(token)
        token_key = self._keys.get(head.kid)
        if token_key is None or head.alg != ALGORITHM or not plausible(body):
            raise _refused()
        key, issuer = token_key
        try:
            jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=issuer,
                options={"require": _required, "verify_exp": False, "verify_iat": False},  # by our own clock below
            )
        except jwt.InvalidTokenError as exc:
            raise _refused() from exc
        if body.exp * 1000 <= self._time_ms():
            raise Unauthenticated("the access token has expired; get another with the refresh token, or log in again")
        return body


def is_access_token(token: bytes) -> bool:
    """Whether this looks like an access token of a platform like this, valid or not."""
    if not token.startswith(b"eyJ"):
        return False
    try:
        return _head.decode(_decoded(token.partition(b".")[0])).kid.startswith(KEY_PREFIX)
    except (ValueError, msgspec.MsgspecError):
        return False


def _parts(token: str) -> tuple[_Head, Claims]:
    """Read, not yet believed. Raises `Unauthenticated`."""
    parts = token.encode().split(b".")
    if len(parts) != 3:
        raise _refused()
    try:
        return _head.decode(_decoded(parts[0])), _claims.decode(_decoded(parts[1]))
    except (ValueError, msgspec.MsgspecError) as exc:
        raise _refused() from exc


def _decoded(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error as exc:
        raise ValueError(str(exc)) from exc


def _refused() -> Unauthenticated:
    return Unauthenticated("the access token is not valid here, or its session is over; log in again")
