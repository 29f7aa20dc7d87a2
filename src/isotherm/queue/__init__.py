"""Asynchronous calls: accepted once they are durable, delivered at least once, retried, kept as dead letters."""
