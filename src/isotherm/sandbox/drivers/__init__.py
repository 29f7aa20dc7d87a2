"""One file per isolation technology."""
