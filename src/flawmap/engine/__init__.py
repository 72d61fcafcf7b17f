"""Runs encoders on this machine, and converts modules to graphs."""
