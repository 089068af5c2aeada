"""The database of a new run: made once, then copied, outside of the tests of `store`.

Its tables and views take two thirds of what it takes to open a new run, and a thousand tests do.
"""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

STORE = "autointerp.store.run"
TESTS_OF_STORE = Path(__file__).parents[1] / "store"


def copy_empty_database(test: Path) -> None:
    """Have new runs begin with a copy from now on, or not, as the test in the file `test` needs.

    Before the store was imported it does nothing.
    """
    store: Any = sys.modules.get(STORE)
    if store is None:
        return
    if not hasattr(store, "connect_to_new"):
        store.connect_to_new = store.connect
    of_store = test.is_relative_to(TESTS_OF_STORE)
    store.connect = store.connect_to_new if of_store else _connect


def _connect(path: Path, read_only: bool, copy: Path | None = None) -> Any:
    store: Any = sys.modules[STORE]
    settings = path / store.SETTINGS
    others = set(path.iterdir()) - {settings} if path.is_dir() else {path}
    if others or read_only or copy is not None or not settings.exists():
        return store.connect_to_new(path, read_only, copy)
    database = path / store.DATABASE
    try:
        database.touch(store.PRIVATE_FILE)
        database.write_bytes(_empty())
    except OSError:  # as a folder or disk that takes nothing: the store has words for it
        database.unlink(missing_ok=True)
        return store.connect_to_new(path, read_only)
    connection = store.duckdb.connect(database.resolve())
    connection.execute("SET enable_progress_bar = false")
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (?, ?)", [store.SETTINGS, settings.read_text("utf-8")]
    )
    return connection


@cache
def _empty() -> bytes:
    """The file of a database in which nothing is stored but the digest of its tables."""
    store: Any = sys.modules[STORE]
    with tempfile.TemporaryDirectory() as folder:
        store.connect_to_new(Path(folder), read_only=False).close()
        return (Path(folder) / store.DATABASE).read_bytes()
