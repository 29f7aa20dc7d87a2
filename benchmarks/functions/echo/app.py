"""Echo, as the peers do it: the JSON that was sent is read and comes back."""

import json


def handler(event, context):
    return json.loads(event["body"]) if "rawPath" in event else event  # by URL, by Invoke
