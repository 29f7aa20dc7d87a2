"""What both wings use to be seen: structured logs and the Prometheus text format."""
