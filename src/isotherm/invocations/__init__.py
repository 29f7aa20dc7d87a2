"""What happened to calls: exact aggregates of all, full records and logs of some, ready to be shipped."""
