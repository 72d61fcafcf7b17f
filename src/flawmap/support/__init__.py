"""What every room needs: progress, options, files, system; no torch but in `tensors.py`."""
