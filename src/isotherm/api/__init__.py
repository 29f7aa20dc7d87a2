"""The REST API under `/api/v1`: endpoints parse, call one verb, shape the answer."""
