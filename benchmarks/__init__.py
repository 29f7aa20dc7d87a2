"""Benchmarks: one command each, JSON and a picture; peers run in the same run, in their own environments."""
