"""Studies: a question, a plan written before the first rating, and the commands that answer it."""
