"""Blobs by content digest, on a local folder or any of the clouds' object stores; and the vault for what is secret."""
