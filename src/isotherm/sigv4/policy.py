"""Whether a signature may count: its scope, its time, what it covers, and whether the key made it. Pure."""

import hmac
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.canonical import canonical_request, string_to_sign
from isotherm.sigv4.model import Sent, Signature

__all__ = ["MAX_SKEW_S", "check_coverage", "check_scope", "check_signature", "check_time", "derive_key", "time_text"]

MAX_SKEW_S: Final = 15 * 60
NEEDED = {False: frozenset(("host", "x-amz-date")), True: frozenset(("host",))}  # by whether it is in the query
SHOWN = 2048  # characters of a canonical request that a refusal shows
TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def derive_key(secret_access_key: str, date: str, region: str, service: str) -> bytes:
    """The key that signs for one day, region and service: 32 bytes, from which the secret cannot be found."""
    key = hmac.digest(b"AWS4" + secret_access_key.encode(), date.encode(), "sha256")
    for part in (region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(1024)
def time_of(text: str) -> float:
    """Seconds since 1970 of YYYYMMDDTHHMMSSZ. Raises `ValueError`."""
    return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC).timestamp()


def check_scope(signature: Signature, region: str, services: Collection[str]) -> None:
    """Raises `SignatureRefused` (scope)."""
    if signature.service not in services:
        raise SignatureRefused(
            f"Credential should be scoped to correct service: {' or '.join(sorted(services))!r}, "
            f"not {signature.service!r}",
            reason="scope",
        )
    if signature.region != region:
        raise SignatureRefused(
            f"Credential should be scoped to a valid region, not {signature.region!r}. This platform's is {region!r}: "
            f"set the client's region (AWS_REGION, region_name=) to it",
            reason="scope",
            region=region,
        )
    if signature.time[:8] != signature.date:
        raise SignatureRefused(
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"{signature.date!r} != {signature.time[:8]!r}, from {signature.time!r}.",
            reason="scope",
        )


def check_time(signature: Signature, now_s: float) -> None:
    """Raises `SignatureRefused` (early, expired, incomplete)."""
    try:
        signed_s = time_of(signature.time)
    except ValueError as exc:
        raise SignatureRefused(f"there is no such time as {signature.time}", reason="incomplete") from exc
    age_s = now_s - signed_s
    if -MAX_SKEW_S <= age_s <= (MAX_SKEW_S if signature.expires_s is None else signature.expires_s):
        return
    now, skew = datetime.fromtimestamp(now_s, UTC), timedelta(seconds=MAX_SKEW_S)
    if age_s < 0:
        raise SignatureRefused(
            f"Signature not yet current: {signature.time} is still later than {time_text(now + skew)} "
            f"({time_text(now)} + {MAX_SKEW_S // 60} min.)",
            reason="early",
            server_time=time_text(now),
        )
    if signature.expires_s is not None:
        ended = datetime.fromtimestamp(signed_s + signature.expires_s, UTC)
        how = f"{time_text(ended)} is now earlier than {time_text(now)} ({signature.time} + {signature.expires_s} s)"
    else:
        how = (
            f"{signature.time} is now earlier than {time_text(now - skew)} ({time_text(now)} - {MAX_SKEW_S // 60} min.)"
        )
    raise SignatureRefused(f"Signature expired: {how}", reason="expired", server_time=time_text(now))


def check_coverage(signature: Signature, sent: Sent) -> None:
    """`host` has to be signed, in the header form the date, and whatever AWS's headers are sent beside it: whoever
    changes one of them on the way changes what is done. What is signed has to be sent: none is like an empty one.

    Raises `SignatureRefused` (unsigned_header, mismatch).
    """
    signed = signature.signed_headers
    needed = {name for name in sent if name.startswith("x-amz-")} | NEEDED[signature.in_query]
    if not needed.issubset(signed):
        unsigned = sorted(needed.difference(signed))
        raise SignatureRefused(
            f"these headers must be signed and are not: {', '.join(unsigned[:10])}",
            reason="unsigned_header",
            headers=unsigned[:10],
        )
    if not sent.keys() >= set(signed):
        lost = sorted(set(signed) - sent.keys())
        raise SignatureRefused(
            f"these headers were signed and did not come: {', '.join(lost[:10])}", reason="mismatch", headers=lost[:10]
        )


def check_signature(
    signature: Signature, signing_key: bytes, method: bytes, target: bytes, sent: Sent, payload: str
) -> None:
    """`payload`: the body's digest in hex, or the word that stands for it. Raises `SignatureRefused` (mismatch)."""
    canonical = canonical_request(signature, method, target, sent, payload)
    to_sign = string_to_sign(signature, canonical)
    if not hmac.compare_digest(hmac.digest(signing_key, to_sign, "sha256"), bytes.fromhex(signature.signature)):
        raise SignatureRefused(
            "The request signature we calculated does not match the signature you provided. Check your secret access "
            "key and signing method.\n\nThe Canonical String for this request should have been\n"
            f"'{_shown(canonical)}'\n\nThe String-to-Sign should have been\n'{_shown(to_sign)}'",
            reason="mismatch",
        )


def time_text(time: datetime) -> str:
    return time.strftime(TIME_FORMAT)


def _shown(text: bytes) -> str:
    return text[:SHOWN].decode("utf-8", "replace") + ("…" if len(text) > SHOWN else "")
