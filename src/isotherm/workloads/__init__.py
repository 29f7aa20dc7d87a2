"""Workloads: numbered immutable revisions, aliases and routes; and the desired state that hosts are told."""
