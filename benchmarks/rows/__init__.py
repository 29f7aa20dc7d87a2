"""The benchmarks, one a file, each with `measure(session) -> Outcome`."""
