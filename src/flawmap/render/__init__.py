"""Images for people."""
