"""Lambda's SnapStart hooks: one runs before the template is frozen, the other in each fork of it."""

import os
import time
import uuid

from snapshot_restore_py import register_after_restore, register_before_snapshot

STATE = {"imported_at": time.time(), "prepared": False, "instance": None, "restored_at": None}


@register_before_snapshot
def prepare():
    """Once per template: close what must not be shared, load what may be."""
    STATE["prepared"] = True


@register_after_restore
def become_an_instance():
    """In each fork: what has to be its own, such as connections and names."""
    STATE["instance"] = uuid.uuid4().hex
    STATE["restored_at"] = time.time()


def handler(event, context):
    return STATE | {"pid": os.getpid()}
