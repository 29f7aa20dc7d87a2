"""The policies, one a file. Loops over many workloads and minutes are compiled (the extra `forecast`)."""
