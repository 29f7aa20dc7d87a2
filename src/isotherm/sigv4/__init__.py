"""Requests signed by AWS Signature Version 4: what a signature says, whether it holds, and keys to check it with."""
