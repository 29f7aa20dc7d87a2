"""What runs inside a sandbox. Standard library alone; never imports `isotherm`."""
