"""Runs the examples of docstrings, with names and files that stand for a reader's own."""
