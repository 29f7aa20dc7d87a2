"""Answers with what it was sent."""


def handler(event, context):
    return {"hello": event, "request_id": context.aws_request_id, "version": context.function_version}
