"""Clients of AWS's, as they are, on a platform of ours; and zips for them."""

import functools
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from tests.conftest import package_index_answers, require
from tests.e2e.conftest import Platform

__all__ = ["ROLE", "client", "command_line", "zip_of"]

ROLE = "arn:aws:iam::123456789012:role/lambda-role"


def client(platform: Platform, key: Mapping[str, str] | None = None, *, retries: int = 0) -> Any:
    """boto3's Lambda client with the admin's key, or another one as `isotherm keys create --json` printed it."""
    given = key or platform.ready
    return boto3.client(
        "lambda",
        endpoint_url=platform.ready["url"],
        region_name="local",
        aws_access_key_id=given["access_key_id"],
        aws_secret_access_key=given["secret_access_key"],
        config=Config(retries={"total_max_attempts": 1 + retries}, read_timeout=60),
    )


def zip_of(**files: str) -> bytes:
    """A zip; `lambda_function="…"` is the file lambda_function.py. A name with a dot or a slash is the whole path."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            path = name if "." in name or "/" in name else f"{name}.py"
            archive.writestr(zipfile.ZipInfo(path), text)
    return content.getvalue()


@functools.cache
def command_line() -> str:
    """The `aws` command: the machine's, else the newest of its first version in an environment of its own, for it is
    bound to one version of botocore."""
    found = shutil.which("aws")
    if found is not None:
        return found
    require(package_index_answers(), "needs the aws command, or a package index that has awscli")
    folder = tempfile.mkdtemp(prefix="isotherm-aws-")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    argv = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "awscli>=1.40,<2"]
    subprocess.run(argv, check=True, timeout=300, capture_output=True)
    return f"{folder}/bin/aws"
