"""Arrays in, numbers out: knows nothing of runs, units or storage."""
