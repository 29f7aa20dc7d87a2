"""Clients of AWS's, as they are, on a platform of ours; and zips for them."""

import io
import zipfile
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from tests.e2e.conftest import Platform

__all__ = ["ROLE", "client", "zip_of"]

ROLE = "arn:aws:iam::123456789012:role/lambda-role"


def client(platform: Platform, key: str | None = None, *, service: str = "lambda") -> Any:
    """A boto3 client with the admin's key, or another one."""
    token = key or platform.ready["admin_key"]
    made = boto3.client(
        service,
        endpoint_url=platform.ready["url"],
        region_name="local",
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}, read_timeout=60),
    )

    def add_key(request: Any, **_: Any) -> None:
        request.headers["Authorization"] = f"Bearer {token}"

    made.meta.events.register("before-send.lambda.*", add_key)
    return made


def zip_of(**files: str) -> bytes:
    """A zip; `lambda_function="…"` is the file lambda_function.py. A name with a dot or a slash is the whole path."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            path = name if "." in name or "/" in name else f"{name}.py"
            archive.writestr(zipfile.ZipInfo(path), text)
    return content.getvalue()
