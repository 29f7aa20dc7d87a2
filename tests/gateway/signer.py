"""Signs requests to a `Front` as AWS's clients do, and reads its refusals as they do."""

import hashlib
import hmac
from typing import Any

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from isotherm.sigv4.model import SIGNED_STREAM
from isotherm.sigv4.policy import derive_key
from tests.gateway.front import Front, Reply

INVOKE = "/2015-03-31/functions/echo/invocations"
EMPTY = hashlib.sha256(b"").hexdigest()


def signed(
    path: str,
    *,
    method: str = "POST",
    body: bytes = b"",
    token: str = "iso_admin",
    secret: str | None = None,
    region: str = "local",
    service: str = "lambda",
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a request to the host `test`, signed by botocore."""
    request = AWSRequest(method, f"http://test{path}", headers=dict(headers or {}), data=body)
    SigV4Auth(Credentials(f"AK{token}", secret or f"secret-{token}"), service, region).add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() != "content-length"}


def presigned(
    path: str, *, method: str = "GET", token: str = "iso_admin", headers: dict[str, str] | None = None, **options: Any
) -> str:
    """The target of a URL on the host `test`, presigned by botocore; who uses it sends the headers too."""
    request = AWSRequest(method, f"http://test{path}", headers=dict(headers or {}))
    SigV4QueryAuth(Credentials(f"AK{token}", f"secret-{token}"), "lambda", "local", **options).add_auth(request)
    return str(request.url).removeprefix("http://test")


def in_chunks(path: str, parts: list[bytes], *, method: str = "POST") -> tuple[dict[str, str], bytes]:
    """Headers and body of a request in signed chunks: the head by botocore, the chunks by AWS's published rule."""
    headers = signed(
        path,
        method=method,
        headers={
            "X-Amz-Content-Sha256": SIGNED_STREAM,
            "X-Amz-Decoded-Content-Length": str(len(b"".join(parts))),
            "Content-Encoding": "aws-chunked",
        },
    )
    time, last = headers["X-Amz-Date"], headers["Authorization"].rpartition("=")[2]
    key = derive_key("secret-iso_admin", time[:8], "local", "lambda")
    body = b""
    for part in [*parts, b""]:
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{time}\n{time[:8]}/local/lambda/aws4_request\n{last}\n{EMPTY}\n"
            f"{hashlib.sha256(part).hexdigest()}"
        )
        last = hmac.new(key, text.encode(), "sha256").hexdigest()
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(part), last.encode(), part)
    return headers, body


async def send(
    front: Front, path: str, headers: dict[str, str], *, body: bytes = b"", method: str = "POST", port: Any = None
) -> Reply:
    """To the API port, unless said otherwise."""
    return await front.get(path, method=method, token=None, body=body or None, headers=headers, port=port or front.api)


def refusal(reply: Reply) -> tuple[int, str]:
    """Status and name of an error in AWS's form."""
    assert reply.headers["content-type"] == "application/json", reply.body
    assert reply.json()["message"] == reply.json()["Message"]
    assert reply.json()["Type"] == "User"
    assert "date" in reply.headers
    return reply.status, reply.headers["x-amzn-errortype"]
