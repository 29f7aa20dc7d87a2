"""Ways to turn names into addresses."""
