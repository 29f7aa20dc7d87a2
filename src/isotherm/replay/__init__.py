"""Replays a real trace: what a platform, or a policy, would have done with it."""
