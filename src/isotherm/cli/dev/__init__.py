"""`isotherm dev`: a folder of code runs while it is written."""
