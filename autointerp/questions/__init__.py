"""What is asked: what a rater is shown, and how its reply is read."""
