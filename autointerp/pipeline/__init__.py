"""The verbs: each does what is missing, and says what happens as events."""
