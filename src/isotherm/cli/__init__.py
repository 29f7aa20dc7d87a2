"""The command line: starts the platform, and speaks to it over HTTP."""
