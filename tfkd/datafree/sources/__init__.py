"""Where a step's inputs come from."""
