"""Findings on a page."""
