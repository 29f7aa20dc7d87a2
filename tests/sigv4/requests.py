"""Requests as botocore signs them, as the bytes that a server sees."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from isotherm.sigv4.model import Headers, Signature
from isotherm.sigv4.parsing import parse_signature, sent_headers
from isotherm.sigv4.policy import check_coverage, check_scope, check_signature, check_time, derive_key, time_of

ACCESS_KEY, SECRET, REGION = "AKEXAMPLE", "secret/with+signs", "local"
AUTHS = {"header": SigV4Auth, "s3": S3SigV4Auth, "query": SigV4QueryAuth}


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


EMPTY = digest(b"")


@dataclass
class Signed:
    """One request on the wire."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""
    service: str = "lambda"
    key: bytes = field(default=b"", repr=False)

    def verify(self, now_s: float | None = None) -> Signature:
        """All that a server checks. Raises `SignatureRefused`."""
        sent = sent_headers(self.headers)
        found = parse_signature(self.target, sent)
        check_scope(found, REGION, [self.service])
        check_time(found, time_of(found.time) if now_s is None else now_s)
        check_coverage(found, sent)
        key = self.key or derive_key(SECRET, found.date, found.region, found.service)
        payload = digest(self.body) if found.payload is None else found.payload
        check_signature(found, key, self.method, self.target, sent, payload)
        return found


def sign(
    form: str,
    method: str,
    target: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    service: str | None = None,
    **options: Any,
) -> Signed:
    """`form`: header, s3 or query."""
    service = service or ("s3" if form == "s3" else "lambda")
    request = AWSRequest(method, f"http://host.test:7070{target}", headers=dict(headers or {}), data=body)
    AUTHS[form](Credentials(ACCESS_KEY, SECRET), service, REGION, **options).add_auth(request)
    on_wire = request.url.removeprefix("http://host.test:7070")
    given = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    return Signed(method.encode(), on_wire.encode(), [(b"Host", b"host.test:7070"), *given], body, service)
