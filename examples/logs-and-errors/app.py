"""What a function can write, and the ways in which it can fail."""

import logging
import sys
import time

logger = logging.getLogger()
logger.setLevel(logging.INFO)


class OutOfStock(Exception):
    pass


def handler(event, context):
    print("printed to standard output")
    print("printed to standard error", file=sys.stderr)
    logger.info("logged with %d s left", context.get_remaining_time_in_millis() // 1000)
    fail = event.get("fail")
    if fail == "raise":
        check_stock(event.get("item", "a lamp"))
    if fail == "timeout":
        time.sleep(60)
    if fail == "exit":
        sys.exit(3)
    if fail == "memory":
        return {"bytes": len(bytearray(1 << 30))}
    if fail == "answer":
        return {"not": object()}  # JSON cannot hold it
    return {"failed": False}


def check_stock(item):
    raise OutOfStock(f"no {item} left")
