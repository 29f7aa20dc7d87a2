"""Dated price tables, each with its source."""
