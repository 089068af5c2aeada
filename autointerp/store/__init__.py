"""A run on disk: its folder, its DuckDB, and the rows in it."""
