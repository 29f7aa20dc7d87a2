"""Echo as an async handler: the JSON that was sent is read and comes back."""

import json


async def handler(event, context):
    return json.loads(event["body"]) if "rawPath" in event else event  # by URL, by Invoke
