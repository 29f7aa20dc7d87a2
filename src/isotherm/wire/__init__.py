"""What crosses between processes: typed, bounded, parsed at the border with msgspec."""
