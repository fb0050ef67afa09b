"""The tables of a node's queue, and their creation in an SQLite file."""

from __future__ import annotations

import sqlite3

VERSION = 1

TABLES = """
CREATE TABLE IF NOT EXISTS instance (
    id INTEGER PRIMARY KEY,
    sop_instance_uid TEXT NOT NULL UNIQUE,
    sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL,
    study_instance_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    path TEXT NOT NULL,
    source TEXT NOT NULL,
    calling_ae_title TEXT NOT NULL,
    state TEXT NOT NULL,
    reason_code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    flags TEXT NOT NULL DEFAULT '[]',
    row TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    received_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    purged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS instance_by_path ON instance (path);
CREATE INDEX IF NOT EXISTS instance_by_state ON instance (state, id);
CREATE INDEX IF NOT EXISTS instance_by_change ON instance (changed_at) WHERE purged = 0;
CREATE TABLE IF NOT EXISTS result (
    id INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instance (id),
    format TEXT NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    sop_class_uid TEXT NOT NULL DEFAULT '',
    sop_instance_uid TEXT NOT NULL DEFAULT '',
    series_instance_uid TEXT NOT NULL DEFAULT '',
    UNIQUE (instance_id, format)
);
CREATE INDEX IF NOT EXISTS result_by_uid ON result (sop_instance_uid) WHERE sop_instance_uid != '';
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instance (id),
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    since REAL NOT NULL,
    next_attempt_at REAL NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    transaction_uid TEXT NOT NULL DEFAULT '',
    changed_at REAL NOT NULL,
    UNIQUE (instance_id, destination)
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (destination, state, next_attempt_at);
CREATE INDEX IF NOT EXISTS delivery_by_transaction ON delivery (transaction_uid) WHERE transaction_uid != '';
CREATE TABLE IF NOT EXISTS transition (
    id INTEGER PRIMARY KEY,
    instance_id INTEGER NOT NULL REFERENCES instance (id),
    destination TEXT,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS transition_by_instance ON transition (instance_id);
CREATE TABLE IF NOT EXISTS known (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""


def prepare(database: sqlite3.Connection) -> None:
    """Create the tables in a new file; do nothing if they exist.

    Raises:
        sqlite3.DatabaseError: the file was made by a later version of lungfield.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.DatabaseError(f"its schema version is {version}, and this lungfield knows {VERSION}")
    if version < VERSION:
        database.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
