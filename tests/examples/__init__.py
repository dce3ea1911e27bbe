"""Runs the examples of docstrings and documents, with names and files that stand for a reader's own."""
