"""Inspects images from a saved inspector with NumPy, OpenCV and OpenVINO alone; no torch."""
