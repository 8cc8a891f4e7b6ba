-- Backups that were opened and checked, and what came back after the hub came back older.

-- The stored mark in the newest checked backup: nothing beyond it may be deleted once any backup was made.
ALTER TABLE stream ADD COLUMN backed_up_seq INTEGER NOT NULL DEFAULT 0;

CREATE TABLE backup (
    id         INTEGER PRIMARY KEY,
    taken_at   INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    folder     TEXT NOT NULL,
    entries    INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
) STRICT;

-- One row for each time the hub came back older. The newest counts; it is open until it has an ending.
CREATE TABLE restore (
    id       INTEGER PRIMARY KEY,
    epoch    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    cause    TEXT NOT NULL,      -- restored, copied or agent
    detail   TEXT NOT NULL,
    folder   TEXT,               -- the backup, where the tool put it in place
    taken_at INTEGER,
    ended_at INTEGER,
    ending   TEXT,               -- repaired, released or superseded
    ended_by TEXT,
    why      TEXT
) STRICT;

-- Journals of which the hub knows that there was more. By id: the books may have forgotten the stream itself.
CREATE TABLE restore_stream (
    restore    INTEGER NOT NULL,
    stream     BLOB NOT NULL,
    agent      BLOB NOT NULL,
    sites      BLOB NOT NULL,
    from_seq   INTEGER NOT NULL,  -- what the database held as it came back
    had_seq    INTEGER NOT NULL,  -- the highest seq stored or announced before
    had_hash   BLOB NOT NULL,
    pruned_seq INTEGER NOT NULL DEFAULT 0,  -- what its agent has deleted
    is_other   INTEGER NOT NULL DEFAULT 0,  -- what came has another hash at had_seq
    settled_at INTEGER,
    PRIMARY KEY (restore, stream)
) STRICT, WITHOUT ROWID;

-- Agents known then, and when each said HELLO since.
CREATE TABLE restore_agent (
    restore    INTEGER NOT NULL,
    agent      BLOB NOT NULL,
    sites      BLOB NOT NULL,
    greeted_at INTEGER,
    PRIMARY KEY (restore, agent)
) STRICT, WITHOUT ROWID;
