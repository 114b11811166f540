"""Whole flows: several processes, real input."""
