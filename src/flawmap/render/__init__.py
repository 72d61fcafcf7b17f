"""Heat maps over images, curves, figures, and images as bytes of a file."""
