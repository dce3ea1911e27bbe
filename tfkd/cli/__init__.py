"""Command-line programs, all absl flags."""
