"""Metrics of scores: how well they separate defective from good images and pixels."""
