"""A small web API on a function URL: routes by path, status codes, cookies, a binary answer.

The event is that of Lambda's function URLs, payload format 2.0; a dict with `statusCode` is the whole answer.
"""

import base64
import json
import struct
import zlib

NOTES = {"1": "keep warm"}  # of one instance: another may not see it


def handler(event, context):
    method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    if path == "/":
        return {"routes": ["/notes/ID", "/login", "/whoami", "/pixel.png", "/upper"]}
    if path.startswith("/notes/"):
        return notes(method, path.removeprefix("/notes/"), event)
    if path == "/login":
        return {"statusCode": 204, "cookies": ["session=s3cret; Path=/; HttpOnly; SameSite=Lax", "theme=dark; Path=/"]}
    if path == "/whoami":
        return {"cookies": event.get("cookies", []), "query": event.get("queryStringParameters", {})}
    if path == "/pixel.png":
        body = base64.b64encode(png(8, 8, (220, 60, 40))).decode()
        return {"statusCode": 200, "headers": {"content-type": "image/png"}, "body": body, "isBase64Encoded": True}
    if path == "/upper" and method == "POST":
        return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": text(event).upper()}
    return answer(404, {"error": f"no route {method} {path}"})


def notes(method, key, event):
    if method == "PUT":
        NOTES[key] = text(event)
        return answer(201, {"id": key})
    if key not in NOTES:
        return answer(404, {"error": f"no note {key}"})
    return answer(200, {"id": key, "text": NOTES[key]})


def answer(status, value):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(value)}


def text(event):
    """The request's body; one that is not text comes in base64."""
    body = event.get("body") or ""
    return base64.b64decode(body).decode("utf-8", "replace") if event.get("isBase64Encoded") else body


def png(width, height, rgb):
    """A picture of one colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(rgb) * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
