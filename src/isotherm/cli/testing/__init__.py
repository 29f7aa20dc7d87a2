"""`isotherm test`: a folder's own events against its code."""
