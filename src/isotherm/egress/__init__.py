"""Egress: carries what functions send out, where their rules allow it. A process of its own, with no secret in it."""
