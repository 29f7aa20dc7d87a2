"""Clients of AWS's, as they are, on a platform of ours; and zips for them."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from tests.e2e.conftest import Platform

__all__ = ["ROLE", "client", "zip_of"]

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
