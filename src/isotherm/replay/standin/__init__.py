"""The package that is deployed for every row of a trace."""
