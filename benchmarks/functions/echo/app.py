"""Echo, as plain as a handler can be."""


def handler(event, context):
    return event
