"""Data sets on disk, their splits, and the images that are fitted to."""
