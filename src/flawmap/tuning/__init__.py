"""Choosing the settings of a method by painted defects on held-out good images."""
