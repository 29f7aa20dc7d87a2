"""What control does on its own: the link to hosts, deploys, retention; and the control process itself."""
