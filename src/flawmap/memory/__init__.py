"""What is remembered of good parts, and how it is searched."""
