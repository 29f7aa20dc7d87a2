"""Echo, as an async handler."""


async def handler(event, context):
    return event
