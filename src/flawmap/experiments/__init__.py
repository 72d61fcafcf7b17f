"""The tables and figures of Li et al. 2025, measured on other data; and the demo."""
