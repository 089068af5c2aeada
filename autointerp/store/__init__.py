"""A run on disk: its folder, its DuckDB, and the rows in it. Nothing else opens the database.

run         the folder: run.toml, run.duckdb, log.jsonl; `open_run`
tables      transactions, appended rows and queries, for those below
units       sources, units and contexts
ratings     items with their key, raters, calls, ratings
replies     replies on the disk at once, before the tables have them
repair      what is wrong with a run's files, put in order where it can be
frames      the run as data frames, for a notebook
concepts    which unit, or which few, know a labelled concept
labs        what labs measured of units
maps        where directions of units lie on a map
matches     nearest dictionary vectors in another run
covers      which concepts units cover; units that were harvested by name
firings     on how many tokens units fire, in the sample or not
looks       the plan, and the ledger of looks
batches     work that a provider's batch API has in hand
schema.sql  the tables
views.sql   the questions asked again and again: `unit_rating`, `unit_guess`, `is_person`
"""
