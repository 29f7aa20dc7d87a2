"""AWS Lambda's control API over functions, workloads and layers: one module for each group of operations."""
