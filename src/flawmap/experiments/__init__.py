"""The tables and figures of Li et al.

(2025), measured on other data: cells, rows on disk, tables, figures.
"""
