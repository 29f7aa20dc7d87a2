"""The host process: gateway and pool, the desired state on disk, the link to control, telemetry on its way there."""
