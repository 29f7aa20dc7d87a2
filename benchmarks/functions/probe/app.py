"""Says which instance answered and how many calls it has had; holds the instance for `hold_s` where asked."""

import os
import time

instance = ""
calls = 0


def handler(event, context):
    global instance, calls
    if event.get("warm"):
        return "warm"  # a warm event: not a call
    instance = instance or os.urandom(8).hex()
    calls += 1
    began = time.time()
    time.sleep(event.get("hold_s", 0))
    return {"instance": instance, "call": calls, "began": began, "ended": time.time()}
