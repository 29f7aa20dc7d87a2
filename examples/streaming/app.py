"""Streams both ways: words as server-sent events, as a chat API sends tokens; the digest of an upload of any size."""

import asyncio
import hashlib
import json

TEXT = "Code is warm before the request arrives, and the answer begins before it is complete."
EVENTS = {"statusCode": 200, "headers": {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}}


async def handler(event, context):
    if event.get("requestContext", {}).get("http", {}).get("method") == "PUT":
        yield json.dumps(await digest(context.body))
        return
    yield EVENTS
    async for word in words(event.get("pause_s", 0.05)):
        yield f"data: {json.dumps({'token': word})}\n\n"
    yield "event: done\ndata: {}\n\n"


async def words(pause_s):
    """Stands for a model that makes one token after the other."""
    for word in TEXT.split():
        await asyncio.sleep(pause_s)
        yield word


async def digest(body):
    found, size = hashlib.sha256(), 0
    async for piece in body:
        found.update(piece)
        size += len(piece)
    return {"sha256": found.hexdigest(), "bytes": size}
