"""Calls in flight: what is pending, retries, pace, budget, batches."""
