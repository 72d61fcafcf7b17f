"""Drawn heat sinks and painted defects; no torch."""
