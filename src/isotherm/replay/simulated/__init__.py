"""The simulated replay: what each policy would have cost on a log, without a platform."""
