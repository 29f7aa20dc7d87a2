"""Namespaces, principals, roles and keys: who may do what, and where."""
