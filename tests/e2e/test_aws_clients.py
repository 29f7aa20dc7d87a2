"""AWS's clients as they are, with a key of `isotherm keys`: boto3, the AWS CLI, curl, and URLs that are passed on."""

import base64
import datetime
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.auth
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.conftest import require
from tests.e2e.conftest import Platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root]

ECHO = """
def handler(event, context):
    if event.get("fail"):
        raise KeyError("asked to")
    return {"got": event, "version": context.function_version}
"""
ROWS = """
def handler(event, context):
    for number in range(3):
        yield f"row {number}\\n"
"""
URL = """
def handler(event, context):
    return {"path": event["rawPath"], "body": event.get("body"), "query": event["rawQueryString"]}
"""


class Key:
    """An access key, and boto3's client with it."""

    def __init__(self, platform: Platform, access_key_id: str, secret_access_key: str, key_id: str = "") -> None:
        self.id, self.access, self.secret = key_id, access_key_id, secret_access_key
        self._platform = platform

    def client(self, secret: str | None = None) -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=self._platform.ready["url"],
            region_name=self._platform.ready["region"],
            aws_access_key_id=self.access,
            aws_secret_access_key=secret or self.secret,
            config=Config(retries={"max_attempts": 0}),
        )

    def signed(self, method: str, url: str, body: bytes = b"", service: str = "lambda") -> dict[str, str]:
        request = AWSRequest(method, url, data=body)
        SigV4Auth(Credentials(self.access, self.secret), service, self._platform.ready["region"]).add_auth(request)
        return dict(request.headers)


@pytest.fixture(scope="module")
def admin(platform: Platform) -> Key:
    platform.function("aws-echo", ECHO)
    platform.function("aws-rows", ROWS)
    platform.function("aws-url", URL)
    platform.function("aws-open", URL, public=True)
    return Key(platform, platform.ready["access_key_id"], platform.ready["secret_access_key"])


@pytest.fixture
def make_key(platform: Platform) -> Callable[..., Key]:
    def make(namespace: str = "default", role: str = "invoker") -> Key:
        with platform.http() as http:
            if namespace != "default":
                http.post("/api/v1/namespaces", json={"name": namespace})
            made = http.post(f"/api/v1/namespaces/{namespace}/keys", json={"name": "aws", "role": role})
            assert made.status_code == 201, made.text
            fields = made.json()
        return Key(platform, fields["access_key_id"], fields["secret_access_key"], fields["id"])

    return make


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer: Any = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_boto3_invokes(admin: Key) -> None:
    answer = admin.client().invoke(FunctionName="aws-echo", Payload=b'{"a": "\xc3\xa9"}', Qualifier="1", LogType="Tail")
    assert json.load(answer["Payload"]) == {"got": {"a": "é"}, "version": "1"}
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "1")
    assert "REPORT" in base64.b64decode(answer["LogResult"]).decode()
    failed = admin.client().invoke(
        FunctionName="arn:aws:lambda:local:default:function:aws-echo", Payload=b'{"fail": 1}'
    )
    assert failed["FunctionError"] == "Unhandled"
    assert json.load(failed["Payload"])["errorType"] == "KeyError"


def test_boto3_invokes_without_waiting(platform: Platform, admin: Key) -> None:
    answer = admin.client().invoke(FunctionName="aws-echo", InvocationType="Event", Payload=b'{"a": 1}')
    assert answer["StatusCode"] == 202
    call = answer["ResponseMetadata"]["RequestId"]
    with platform.http() as http:
        wait_until(
            lambda: http.get(f"/api/v1/namespaces/default/calls/{call}").json()["call"]["state"] == "succeeded",
            "the call that nobody waited for",
        )


def test_boto3_reads_a_stream(admin: Key) -> None:
    answer = admin.client().invoke_with_response_stream(FunctionName="aws-rows", Payload=b"{}")
    body = b"".join(event["PayloadChunk"]["Payload"] for event in answer["EventStream"] if "PayloadChunk" in event)
    assert body == b"row 0\nrow 1\nrow 2\n"


def test_a_presigned_url_invokes_for_who_has_no_key(admin: Key) -> None:
    url = admin.client().generate_presigned_url("invoke", Params={"FunctionName": "aws-echo"}, ExpiresIn=60)
    answer = httpx.post(url)
    assert (answer.status_code, answer.json()["got"]) == (200, {})
    other = httpx.post(url, content=b'{"a": 3}')
    assert (other.status_code, other.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")


def test_errors_are_those_that_boto3_knows(platform: Platform, admin: Key, make_key: Callable[..., Key]) -> None:
    with pytest.raises(admin.client().exceptions.ResourceNotFoundException):
        admin.client().invoke(FunctionName="aws-missing")
    with pytest.raises(ClientError, match="signature we calculated does not match") as mismatch:
        admin.client(secret="wrong").invoke(FunctionName="aws-echo")
    assert refusal(mismatch) == (403, "InvalidSignatureException")
    with pytest.raises(ClientError) as unknown:
        Key(platform, "ISOUNKNOWN", "x").client().invoke(FunctionName="aws-echo")
    assert refusal(unknown) == (403, "UnrecognizedClientException")
    with pytest.raises(ClientError) as denied:
        make_key(role="viewer").client().invoke(FunctionName="aws-echo")
    assert refusal(denied) == (403, "AccessDeniedException")
    foreign = make_key(namespace="aws-tenant").client()
    with pytest.raises(foreign.exceptions.ResourceNotFoundException):
        foreign.invoke(FunctionName="aws-echo")
    with pytest.raises(foreign.exceptions.ResourceNotFoundException):
        foreign.invoke(FunctionName="arn:aws:lambda:local:default:function:aws-echo")


@pytest.mark.parametrize(("hours", "says"), [(-1, "Signature expired"), (1, "Signature not yet current")])
def test_a_client_whose_clock_is_off_is_told(
    admin: Key, monkeypatch: pytest.MonkeyPatch, hours: int, says: str
) -> None:
    away = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: away.replace(tzinfo=None))
    with pytest.raises(ClientError, match=says) as skewed:
        admin.client().invoke(FunctionName="aws-echo")
    assert refusal(skewed) == (403, "InvalidSignatureException")
    assert "date" in skewed.value.response["ResponseMetadata"]["HTTPHeaders"]


def test_a_revoked_key_stops_at_once(platform: Platform, make_key: Callable[..., Key]) -> None:
    key = make_key()
    client = key.client()
    assert client.invoke(FunctionName="aws-echo", Payload=b"{}")["StatusCode"] == 200
    with platform.http() as http:
        assert http.delete(f"/api/v1/namespaces/default/keys/{key.id}").status_code == 204
    with pytest.raises(ClientError) as gone:
        client.invoke(FunctionName="aws-echo", Payload=b"{}")
    assert refusal(gone) == (403, "UnrecognizedClientException")


def test_a_function_url_takes_a_signature(platform: Platform, admin: Key) -> None:
    url = f"{platform.ready['content_url']}/aws-url/a/b?c=1"
    text = {"Content-Type": "text/plain"}
    answer = httpx.post(url, content=b"data", headers=text | admin.signed("POST", url, b"data"))
    assert answer.json() == {"path": "/a/b", "body": "data", "query": "c=1"}
    tampered = httpx.post(url, content=b"other", headers=admin.signed("POST", url, b"data"))
    assert (tampered.status_code, tampered.headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert httpx.get(url).status_code == 401
    assert httpx.get(f"{platform.ready['content_url']}/aws-open/").status_code == 200


def test_our_own_api_takes_a_signature_as_a_login(platform: Platform, admin: Key, make_key: Callable[..., Key]) -> None:
    url = f"{platform.ready['url']}/api/v1/namespaces"
    body = json.dumps({"name": f"aws-{time.time_ns()}"}).encode()
    for service in ("execute-api", "lambda"):
        headers = {"Content-Type": "application/json"}
        assert httpx.get(url, headers=admin.signed("GET", url, service=service)).status_code == 200
    answer = httpx.post(url, content=body, headers=headers | admin.signed("POST", url, body))
    assert answer.status_code == 201, answer.text
    denied = httpx.post(url, content=body, headers=headers | make_key(role="viewer").signed("POST", url, body))
    assert (denied.status_code, denied.json()["code"]) == (403, "forbidden")
    tampered = httpx.post(url, content=body + b" ", headers=headers | admin.signed("POST", url, body))
    assert (tampered.status_code, tampered.json()["code"]) == (401, "signature_refused")


def test_curl_signs(platform: Platform, admin: Key) -> None:
    curl = shutil.which("curl")
    require(curl is not None, "needs curl")
    region = platform.ready["region"]
    for url, service, sent, expected in (
        (f"{platform.ready['url']}/2015-03-31/functions/aws-echo/invocations", "lambda", '{"a": 4}', '"a":4'),
        (f"{platform.ready['content_url']}/aws-url/x", "lambda", "data", '"body":"data"'),
        (f"{platform.ready['url']}/api/v1/me", "execute-api", None, '"principal_id"'),
    ):
        argv = [
            str(curl),
            "-sS",
            "--aws-sigv4",
            f"aws:amz:{region}:{service}",
            "--user",
            f"{admin.access}:{admin.secret}",
        ]
        argv += ["-H", f"Host: {urlsplit(url).netloc}", url]
        argv += ["-H", "Content-Type: text/plain", "--data", sent] if sent is not None else []
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        assert expected in ran.stdout, ran.stdout


def test_the_aws_command_line_invokes(platform: Platform, admin: Key, data_dir: Path) -> None:
    aws = shutil.which("aws")
    if aws is None:
        pytest.skip("the AWS CLI is not here")
    environment = platform.environment | {"AWS_ACCESS_KEY_ID": admin.access, "AWS_SECRET_ACCESS_KEY": admin.secret}

    def run(*argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [aws, *argv], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=data_dir
        )

    version = run("--version")
    raw = [] if "aws-cli/1." in version.stdout + version.stderr else ["--cli-binary-format", "raw-in-base64-out"]
    ready = platform.ready
    place = ["--endpoint-url", ready["url"], "--region", ready["region"]]
    ran = run("lambda", "invoke", *place, *raw, "--function-name", "aws-echo", "--payload", '{"a": 5}', "out.json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads((data_dir / "out.json").read_text())["got"] == {"a": 5}


def test_signatures_are_checked_without_control_and_after_a_restart_of_the_host(start: Callable[..., Platform]) -> None:
    platform = start()
    platform.function("aws-echo", ECHO)
    key = Key(platform, platform.ready["access_key_id"], platform.ready["secret_access_key"])

    def served() -> bool:
        with suppress(EndpointConnectionError, ConnectionClosedError):  # the host is away
            return bool(key.client().invoke(FunctionName="aws-echo", Payload=b"{}")["StatusCode"] == 200)
        return False

    assert served()
    platform.kill("control")
    assert served()
    platform.kill("host")
    wait_until(served, "the host again")
    content = (platform.folder / "data" / "host" / "desired.bin").read_bytes()
    assert key.secret.encode() not in content
    assert key.access.encode() not in content
