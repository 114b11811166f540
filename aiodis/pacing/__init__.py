"""Per-partition limits, for writers and readers."""
