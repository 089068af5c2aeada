"""What goes out of a run, and what comes in from elsewhere."""
