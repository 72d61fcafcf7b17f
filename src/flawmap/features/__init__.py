"""From images to one vector per patch, and back to pixels."""
