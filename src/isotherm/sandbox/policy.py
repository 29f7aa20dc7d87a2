"""Decisions about sandboxes. Pure."""

from isotherm.base.runtimes import PROVIDED, is_node

__all__ = ["unforkable"]


def unforkable(runtime: str) -> tuple[str, ...]:
    """Why instances of this runtime are no forks of a template, whatever the code does; empty where they can be."""
    if is_node(runtime):
        return ("Node.js has threads that a fork would lose",)
    if runtime == PROVIDED:
        return ("its bootstrap is a program of its own",)
    return ()
