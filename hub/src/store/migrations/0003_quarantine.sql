-- Reasons in both languages, what people resolved, and what a rebuild must decide as it was decided before.

ALTER TABLE raw ADD COLUMN protocol INTEGER NOT NULL DEFAULT 1;        -- of the frame it came in

ALTER TABLE quarantine ADD COLUMN reason_zh TEXT NOT NULL DEFAULT '';
CREATE INDEX quarantine_by_document ON quarantine (document) WHERE document IS NOT NULL;

-- The trail: one row per resolution asked for, in the order of asking. A row is written once, decided once by the
-- applier, and stays. What was applied or waived stands: rebuild reads it as it reads raw.
CREATE TABLE resolution (
    id              INTEGER PRIMARY KEY,
    stream          INTEGER NOT NULL,
    seq             INTEGER NOT NULL,
    entry_key       BLOB NOT NULL,      -- BLAKE3 of the entry's bytes; of its place too where they are no entry
    entry           BLOB,               -- the entry's id, where it can be read
    document        BLOB,
    action          TEXT NOT NULL,      -- fix, replay, waive
    act             TEXT,               -- a fix: the act and the fields that stand for the captured ones
    fields          BLOB,
    who             TEXT NOT NULL,
    why             TEXT NOT NULL,
    at              INTEGER NOT NULL,
    before_code     TEXT NOT NULL,
    before_reason   TEXT NOT NULL,
    before_zh       TEXT NOT NULL,
    outcome         TEXT,               -- applied, waived, still, refused; null until the applier came to it
    after_code      TEXT,
    after_reason    TEXT,
    after_zh        TEXT
) STRICT;

CREATE INDEX resolution_asked ON resolution (id) WHERE outcome IS NULL;
CREATE INDEX resolution_of_entry ON resolution (stream, seq);
CREATE INDEX resolution_of_document ON resolution (document) WHERE outcome IN ('applied', 'waived');

CREATE TRIGGER resolution_stays BEFORE DELETE ON resolution
BEGIN SELECT raise(ABORT, 'a resolution is never deleted'); END;

CREATE TRIGGER resolution_is_decided_once BEFORE UPDATE ON resolution WHEN old.outcome IS NOT NULL
BEGIN SELECT raise(ABORT, 'a resolution is decided once'); END;

-- Entries that lost against a rival: they lose again when a rebuild reads the journals in another order.
CREATE TABLE outranked (
    entry_key BLOB PRIMARY KEY,
    code      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
