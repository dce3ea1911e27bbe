"""Transformers: loading, tokens, students, recipes."""

from tfkd.text._plain import plain

__all__ = ["plain"]
