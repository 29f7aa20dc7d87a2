"""Where queued calls are kept."""
