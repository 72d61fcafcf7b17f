"""How well scores tell defective from good."""
