"""Inspects images with a saved inspector, by NumPy, OpenCV and OpenVINO alone; no torch."""
