"""Access tokens: only what this platform signed, as it signed it, and not for longer."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.clock import ManualClock
from isotherm.base.errors import Unauthenticated
from isotherm.wire.access import MAX_TOKEN_BYTES, TokenCheck, is_access_token
from isotherm.wire.desired import TokenKeySpec

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
CLOCK = ManualClock()
NOW_S = CLOCK.time_ms() // 1000


def check() -> TokenCheck:
    made = TokenCheck(CLOCK.time_ms)
    made.put(TokenKeySpec(id="isk_1", public=KEY.public_key().public_bytes_raw(), issuer="iso_1"))
    return made


def token(key: Any = KEY, *, alg: str = "EdDSA", kid: str | None = "isk_1", **changes: Any) -> str:
    claims = {
        "iss": "iso_1", "aud": "isotherm", "sub": "pr_1", "sid": "ses_1", "ver": 3, "iat": NOW_S, "exp": NOW_S + 900,
    } | changes  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, alg, headers={"kid": kid} if kid else {})


def unsigned(head: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, claims))
    return ".".join(parts) + "."


def test_a_token_says_who_and_in_which_session() -> None:
    claims = check().check(token(), lambda _: True)
    assert (claims.sub, claims.sid, claims.ver, claims.exp) == ("pr_1", "ses_1", 3, NOW_S + 900)


def body(made: str) -> dict[str, Any]:
    part = made.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return decoded


@pytest.mark.parametrize(
    "forged",
    [
        token(OTHER),
        token(kid="isk_2"),
        token(kid=None),
        token(iss="iso_2"),
        token(iss=None),
        token(aud="another"),
        token(aud=None),
        token(iat=None),
        token(exp=None),
        token(ver="3"),
        token(sub=7),
        token(sub="pr_\0"),
        token(sid="ses_1' OR 1=1"),
        token(KEY.public_key().public_bytes_raw(), alg="HS256"),
        unsigned({"alg": "none", "kid": "isk_1"}, body(token())),
        unsigned({"alg": "EdDSA", "kid": "isk_1"}, body(token())),
        token()[:-4] + "AAAA",
        ".".join([token().split(".")[0], token(sub="pr_2").split(".")[1], token().split(".")[2]]),
        token() + ".x",
        "a.b.c",
        "",
        "..",
        token(padding="x" * MAX_TOKEN_BYTES),
        "é" + token(),
    ],
)
def test_what_is_not_signed_here_as_it_stands_is_refused_with_one_message(forged: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid here") as refused:
        check().check(forged, lambda _: True)
    assert forged not in refused.value.message or not forged


def test_a_token_ends_at_its_time_by_the_clock_of_the_platform() -> None:
    clock = ManualClock()
    made = TokenCheck(clock.time_ms)
    made.put(TokenKeySpec(id="isk_1", public=KEY.public_key().public_bytes_raw(), issuer="iso_1"))
    clock.advance(899)
    made.check(token(), lambda _: True)
    clock.advance(1)
    with pytest.raises(Unauthenticated, match="has expired"):
        made.check(token(), lambda _: True)


def test_no_signature_is_checked_of_who_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: Any, **__: Any) -> None:
        raise AssertionError("it was checked")

    monkeypatch.setattr(jwt, "decode", decode)
    with pytest.raises(Unauthenticated):
        check().check(token(), lambda claims: claims.sub == "pr_2")


def test_a_key_that_was_removed_is_trusted_no_more() -> None:
    made = check()
    made.remove("isk_1")
    with pytest.raises(Unauthenticated):
        made.check(token(), lambda _: True)


@given(st.text(max_size=600) | st.from_regex(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_whatever_comes_is_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(Unauthenticated):
        check().check(text, lambda _: True)
    is_access_token(text.encode("utf-8", "replace"))


def test_own_tokens_are_told_from_others() -> None:
    assert is_access_token(token().encode())
    assert is_access_token(token(OTHER, kid="isk_of_another_platform", exp=1).encode())
    assert not is_access_token(token(kid="google-1").encode())
    assert not is_access_token(token(kid=None).encode())
    assert not is_access_token(b"iso_abc")


def test_tokens_of_a_platform_are_shorter_than_what_is_taken() -> None:
    long_ids = token(
        sub="pr_" + "x" * 26, sid="ses_" + "x" * 26, kid="isk_" + "x" * 26, iss="iso_" + "x" * 26, ver=99999
    )
    assert len(long_ids) + len("Bearer ") < 512
    assert len(long_ids) < MAX_TOKEN_BYTES
