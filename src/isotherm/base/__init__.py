"""What every room may use: errors, ids, the clock, settings. Imports nothing of ours."""
