"""Isolated instances: the port that the pool drives, and one driver per isolation technology."""
