"""The tables of the asset library, since version 6 of library.db.

The row number of an asset is its time, so that "newest first" is the order in which SQLite and its full-text index
keep rows anyway, and a page begins where the last one ended instead of counting from the top.
"""

from __future__ import annotations

import sqlite3

SKIPPED, INTENT, DONE, TRASHED = "skipped", "intent", "done", "trashed"
MISSING = "missing"  # an imported file that is not there at the moment
TRASHING, RESTORING = "trashing", "restoring"  # the file is about to be moved; `other_path` says where

ASSET_TABLES = (
    """
CREATE TABLE assets (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    job_id TEXT,
    user TEXT NOT NULL,
    number INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    kind TEXT NOT NULL DEFAULT 'image',
    folder INTEGER NOT NULL DEFAULT 0,
    path TEXT,
    other_path TEXT,
    digest TEXT NOT NULL DEFAULT '',
    bytes INTEGER NOT NULL DEFAULT 0,
    modified REAL NOT NULL DEFAULT 0,
    width INTEGER NOT NULL DEFAULT 0,
    height INTEGER NOT NULL DEFAULT 0,
    seed INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL DEFAULT 0,
    label TEXT NOT NULL DEFAULT '',
    source_type TEXT NOT NULL DEFAULT '',
    task TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    rating INTEGER NOT NULL DEFAULT 0,
    favourite INTEGER NOT NULL DEFAULT 0,
    uses INTEGER NOT NULL DEFAULT 0,
    trashed REAL,
    UNIQUE (job_id, number),
    UNIQUE (folder, path)
)""",
    "CREATE INDEX assets_by_user ON assets (user, state, seq)",
    "CREATE INDEX assets_rated ON assets (user, state, rating, seq) WHERE rating > 0",
    "CREATE INDEX assets_favourite ON assets (user, state, seq) WHERE favourite = 1",
    "CREATE INDEX assets_used ON assets (user, state, uses, seq) WHERE uses > 0",
    "CREATE INDEX assets_missing ON assets (digest) WHERE state = 'missing'",
    "CREATE INDEX assets_moving ON assets (state) WHERE state IN ('intent', 'trashing', 'restoring')",
    """
CREATE TABLE recipes (
    seq INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL DEFAULT '',
    negative TEXT NOT NULL DEFAULT '',
    request TEXT NOT NULL DEFAULT '{}',
    infotext TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '[]',
    parents TEXT NOT NULL DEFAULT '[]',
    history TEXT NOT NULL DEFAULT '[]'
)""",
    "CREATE TABLE asset_parents (parent TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (parent, seq)) WITHOUT ROWID",
    "CREATE INDEX asset_parents_by_child ON asset_parents (seq)",
    "CREATE TABLE asset_loras (seq INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (seq, name)) WITHOUT ROWID",
    """
CREATE TABLE texts (
    seq INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    negative TEXT NOT NULL,
    title TEXT NOT NULL,
    note TEXT NOT NULL,
    tags TEXT NOT NULL,
    name TEXT NOT NULL,
    keys TEXT NOT NULL
)""",
    """
CREATE VIRTUAL TABLE words USING fts5(
    prompt, negative, title, note, tags, name, keys,
    content='texts', content_rowid='seq', tokenize='unicode61 remove_diacritics 2'
)""",
    """
CREATE TRIGGER texts_added AFTER INSERT ON texts BEGIN
    INSERT INTO words (rowid, prompt, negative, title, note, tags, name, keys)
    VALUES (new.seq, new.prompt, new.negative, new.title, new.note, new.tags, new.name, new.keys);
END""",
    """
CREATE TRIGGER texts_removed AFTER DELETE ON texts BEGIN
    INSERT INTO words (words, rowid, prompt, negative, title, note, tags, name, keys)
    VALUES ('delete', old.seq, old.prompt, old.negative, old.title, old.note, old.tags, old.name, old.keys);
END""",
    """
CREATE TRIGGER texts_changed AFTER UPDATE ON texts BEGIN
    INSERT INTO words (words, rowid, prompt, negative, title, note, tags, name, keys)
    VALUES ('delete', old.seq, old.prompt, old.negative, old.title, old.note, old.tags, old.name, old.keys);
    INSERT INTO words (rowid, prompt, negative, title, note, tags, name, keys)
    VALUES (new.seq, new.prompt, new.negative, new.title, new.note, new.tags, new.name, new.keys);
END""",
    """
CREATE TABLE facets (
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (user, kind, value)
) WITHOUT ROWID""",
    """
CREATE TABLE tags (
    id INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    fold TEXT NOT NULL,
    UNIQUE (user, fold)
)""",
    "CREATE TABLE asset_tags (seq INTEGER NOT NULL, tag INTEGER NOT NULL, PRIMARY KEY (seq, tag)) WITHOUT ROWID",
    """
CREATE TABLE collections (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    fold TEXT NOT NULL,
    query TEXT,
    created REAL NOT NULL,
    UNIQUE (user, fold)
)""",
    """
CREATE TABLE collection_items (
    collection TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (collection, seq)
) WITHOUT ROWID""",
    "CREATE INDEX collection_items_by_asset ON collection_items (seq)",
    """
CREATE TABLE uses (
    seq INTEGER NOT NULL,
    use TEXT NOT NULL,
    count INTEGER NOT NULL,
    last REAL NOT NULL,
    PRIMARY KEY (seq, use)
) WITHOUT ROWID""",
    """
CREATE TABLE undo_steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    created REAL NOT NULL
)""",
    """
CREATE TABLE undo_items (
    step INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    before TEXT NOT NULL,
    PRIMARY KEY (step, seq)
) WITHOUT ROWID""",
    """
CREATE TABLE folders (
    id INTEGER PRIMARY KEY,
    user TEXT NOT NULL,
    path TEXT NOT NULL,
    program TEXT NOT NULL DEFAULT '',
    scanned REAL,
    UNIQUE (user, path)
)""",
    "CREATE TABLE hashes (place INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL UNIQUE, hash INTEGER)",
    """
CREATE TABLE vectors (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER NOT NULL UNIQUE,
    model TEXT NOT NULL,
    vector BLOB NOT NULL
)""",
)


def create_asset_tables(connection: sqlite3.Connection) -> None:
    """All tables of the library, inside the caller's transaction."""
    for statement in ASSET_TABLES:
        connection.execute(statement)
