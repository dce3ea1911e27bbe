"""Looking after a run without data: health, the best epoch, statistics, time."""
