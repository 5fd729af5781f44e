"""The store in one SQLite file. Start reading at :mod:`pushpals.store.sqlite.store`."""

from pushpals.store.sqlite.store import SqliteStore, open_store

__all__ = ["SqliteStore", "open_store"]
