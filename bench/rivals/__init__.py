"""The parts of `bench/rivals.py`: both sides' workers, what is measured, the report."""
