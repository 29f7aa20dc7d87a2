"""Runtimes other than Python on the running platform, AWS's own clients of its Runtime API among them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.runtimes import find_node
from tests.conftest import require
from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.root]

PYTHON_CODE = """
def handler(event, context):
    print("called")
    if event.get("fail"):
        raise KeyError("asked for")
    return {"statusCode": 201, "body": context.aws_request_id, "left": context.get_remaining_time_in_millis()}
"""
NODE_CODE = """
exports.handler = async (event, context) => {
  console.log('called');
  if (event.fail) throw new RangeError('asked for');
  return { statusCode: 201, body: context.awsRequestId, left: context.getRemainingTimeInMillis() };
};
"""


def package(folder: Path, name: str, files: dict[str, str], **manifest: Any) -> Path:
    target = folder / name
    target.mkdir()
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"name": name, **manifest}.items()]
    for file, text in ({"isotherm.toml": "\n".join(lines) + "\n"} | files).items():
        (target / file).write_text(text)
        (target / file).chmod(0o755 if file == "bootstrap" else 0o644)
    return target


def check_calls(platform: Platform, name: str, url: str, error_type: str) -> None:
    """By Invoke, by URL, with its log, and failing."""
    for _ in range(3):
        answer = platform.invoke(name, {})
        assert answer.json()["body"] == answer.headers["X-Amzn-RequestId"]
        assert 0 < answer.json()["left"] <= 30_000
    with platform.content() as http:
        by_url = http.get(url)
        assert (by_url.status_code, by_url.text) == (201, by_url.headers["X-Amzn-RequestId"])
    assert "called" in platform.cli("invoke", name, "--tail").err
    failed = platform.invoke(name, {"fail": True})
    assert failed.headers["X-Amz-Function-Error"] == "Unhandled"
    assert failed.json()["errorType"] == error_type
    assert "asked for" in failed.json()["errorMessage"]


def test_commonjs_on_nodejs(platform: Platform, tmp_path: Path) -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")
    url = platform.deploy(package(tmp_path, "node-cjs", {"index.js": NODE_CODE}, runtime="nodejs"))
    check_calls(platform, "node-cjs", url, "RangeError")


@pytest.mark.network
def test_awslambdaric_runs_unmodified(platform: Platform, tmp_path: Path) -> None:
    files = {
        "app.py": PYTHON_CODE,
        "requirements.txt": "awslambdaric==4.2.2\n",
        "bootstrap": '#!/bin/sh\nexec python3 -m awslambdaric "$_HANDLER"\n',
    }
    url = platform.deploy(package(tmp_path, "py-ric", files, runtime="provided", handler="app.handler"))
    check_calls(platform, "py-ric", url, "KeyError")


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)  # its install script compiles curl and an addon
def test_aws_lambda_ric_runs_unmodified(platform: Platform, tmp_path: Path) -> None:
    tools = ("npm", "g++", "cmake", "make", "autoconf", "automake", "libtoolize")
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    require(find_node() is not None and not lacking, f"needs Node.js 18 or newer and {', '.join(lacking) or 'npm'}")
    files = {
        "index.js": NODE_CODE,
        "package.json": json.dumps({"dependencies": {"aws-lambda-ric": "3.3.0"}}),
        "bootstrap": '#!/bin/sh\nexec /deps/node_modules/.bin/aws-lambda-ric "$_HANDLER"\n',
    }
    folder = package(tmp_path, "node-ric", files, runtime="provided", handler="index.handler", install_scripts=True)
    check_calls(platform, "node-ric", platform.deploy(folder), "RangeError")


@pytest.mark.network
def test_what_npm_cannot_install_fails_the_deploy_with_its_words(platform: Platform, tmp_path: Path) -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")
    files = {"index.js": NODE_CODE, "package.json": json.dumps({"dependencies": {"ms": "999.0.0"}})}
    ran = platform.cli("deploy", str(package(tmp_path, "no-such-npm", files, runtime="nodejs")))
    assert ran.code != 0
    assert "npm could not install" in ran.err
    assert "ms@999.0.0" in ran.err


def test_a_runtime_that_is_not_here_is_refused_with_those_that_are(platform: Platform, tmp_path: Path) -> None:
    ran = platform.cli("deploy", str(package(tmp_path, "old-node", {"index.js": NODE_CODE}, runtime="nodejs8")))
    assert ran.code != 0
    assert "runtime is 'nodejs8'; this platform has python3." in ran.err
    assert "provided" in ran.err


def test_a_bootstrap_that_ends_is_a_crash_with_its_status(platform: Platform, tmp_path: Path) -> None:
    bootstrap = """#!/bin/sh
curl -s "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
exit 3
"""
    platform.deploy(package(tmp_path, "quitter", {"bootstrap": bootstrap}, runtime="provided"))
    failed = platform.invoke("quitter", {})
    assert "exited with status 3" in failed.text


def test_the_runtimes_are_listed(platform: Platform) -> None:
    with platform.http() as http:
        (host,) = http.get("/api/v1/hosts").json()["items"]
    assert host["runtimes"][-1] == "provided"
    node = find_node()
    assert node is None or node.name in host["runtimes"]
