"""What happened: invocations, per-minute aggregates and logs, as hosts report them; and why a call was cold."""
