"""Who asks: the `Principal` that goes through every operation."""
