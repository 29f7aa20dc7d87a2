"""The event log: who decided what and when. Aggregates, their history, the audit log."""
