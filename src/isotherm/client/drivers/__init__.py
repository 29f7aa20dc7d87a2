"""Ways to speak HTTP: blocking, and on an event loop."""
