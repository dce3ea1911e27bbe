"""Transformers: loading, tokens, students, recipes."""

__all__ = []
