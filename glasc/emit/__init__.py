"""From the frozen view of the C to write to its text; sees no IR."""
