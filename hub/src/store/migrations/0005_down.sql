-- The hub's own journal, and the downward journal of every agent.

ALTER TABLE agent ADD COLUMN is_hub INTEGER NOT NULL DEFAULT 0;     -- the hub itself: its acts are a journal like any other
ALTER TABLE agent ADD COLUMN told_journal BLOB;                     -- written by the device that has the downward journal
ALTER TABLE stream ADD COLUMN is_down INTEGER NOT NULL DEFAULT 0;   -- what one agent brought back: accepted before
ALTER TABLE stream ADD COLUMN hold_seq INTEGER NOT NULL DEFAULT 0;  -- while frozen, nothing beyond is processed
ALTER TABLE restore_agent ADD COLUMN returned_at INTEGER;           -- when its downward journal was known to be back
UPDATE restore_agent SET returned_at = greeted_at;
ALTER TABLE restore ADD COLUMN own_forgotten INTEGER NOT NULL DEFAULT 0;  -- entries of the hub's own journals

-- What an agent was told, has deleted and cannot bring back. While there is any, only ops ends the restore.
CREATE TABLE restore_down (
    restore   INTEGER NOT NULL,
    agent     BLOB NOT NULL,
    stream    BLOB NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    PRIMARY KEY (restore, stream, first_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE down_stream (
    id            INTEGER PRIMARY KEY,
    stream        BLOB NOT NULL UNIQUE,
    agent         INTEGER NOT NULL,
    is_current    INTEGER NOT NULL,
    is_awaited    INTEGER NOT NULL DEFAULT 0,  -- the hub came back older: what the agent holds is not known yet
    head_seq      INTEGER NOT NULL DEFAULT 0,
    head_hash     BLOB NOT NULL,
    held_seq      INTEGER NOT NULL DEFAULT 0,  -- how far the agent said it holds it; beyond the head, it brings it back
    stored_seq    INTEGER NOT NULL DEFAULT 0,  -- what the agent acknowledged
    prunable_seq  INTEGER NOT NULL DEFAULT 0,
    backed_up_seq INTEGER NOT NULL DEFAULT 0,
    returned      INTEGER                      -- the journal of what it brought back
) STRICT;

CREATE INDEX down_stream_of_agent ON down_stream (agent);

CREATE TABLE down_entry (
    id     INTEGER PRIMARY KEY,      -- in the order of commits: what is new is what lies above the last one seen
    stream INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    hash   BLOB NOT NULL,
    key    BLOB NOT NULL,            -- tells a repetition: of the bytes, or of what a receipt speaks of
    at     INTEGER NOT NULL,
    on_document INTEGER NOT NULL,
    entry  BLOB NOT NULL,            -- empty at the end of what its agent had deleted before it brought back the rest
    UNIQUE (stream, seq)
) STRICT;

CREATE INDEX down_entry_by_key ON down_entry (stream, key);

-- For agents whose journal is not known to be back: appended once it is.
CREATE TABLE down_pending (
    id    INTEGER PRIMARY KEY,
    agent INTEGER NOT NULL,
    key   BLOB NOT NULL,
    on_document INTEGER NOT NULL,
    entry BLOB NOT NULL,
    UNIQUE (agent, key)
) STRICT;

-- Agents that came to stand for a site and are still to be told of its documents, from this row on.
CREATE TABLE down_due (
    agent  INTEGER NOT NULL,
    site   INTEGER NOT NULL,
    next_n INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, site)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_by_site ON document (site);
INSERT INTO down_due (agent, site) SELECT agent, site FROM agent_site;
CREATE TRIGGER agent_site_begins AFTER INSERT ON agent_site
BEGIN INSERT OR REPLACE INTO down_due (agent, site) VALUES (new.agent, new.site); END;

-- Journals whose device is still to be told of what the agent's other branches hold: forks, and whatever has the downward
-- journal again after another had it.
CREATE TABLE down_fork (stream INTEGER PRIMARY KEY) STRICT;
CREATE TRIGGER fork_begins AFTER INSERT ON stream WHEN new.parent_stream IS NOT NULL
BEGIN INSERT OR IGNORE INTO down_fork (stream) VALUES (new.id); END;
CREATE TRIGGER fork_is_known AFTER UPDATE OF parent_stream ON stream
WHEN old.parent_stream IS NULL AND new.parent_stream IS NOT NULL
BEGIN INSERT OR IGNORE INTO down_fork (stream) VALUES (new.id); END;

-- What people had decided about entries set aside, from receipts that agents brought back: goes over into the trail as soon
-- as the entry's journal is here, and is decided there.
CREATE TABLE resolution_due (
    stream        BLOB NOT NULL,
    seq           INTEGER NOT NULL,
    action        TEXT NOT NULL,
    at            INTEGER NOT NULL,
    entry         BLOB,
    document      BLOB,
    act           TEXT,
    fields        BLOB,
    who           TEXT NOT NULL,
    why           TEXT NOT NULL,
    before_code   TEXT NOT NULL,
    before_reason TEXT NOT NULL,
    before_zh     TEXT NOT NULL,
    PRIMARY KEY (stream, seq, action, at)
) STRICT, WITHOUT ROWID;

-- the entry's key is known once it is decided
CREATE VIEW resolution_come AS
SELECT stream.id AS stream, due.seq, zeroblob(0) AS entry_key, due.entry, due.document, due.action, due.act, due.fields,
    due.who, due.why, due.at, due.before_code, due.before_reason, due.before_zh
FROM resolution_due AS due JOIN stream ON stream.stream = due.stream
WHERE NOT EXISTS (SELECT 1 FROM resolution AS known WHERE known.document IS due.document AND known.entry IS due.entry
    AND known.action = due.action AND known.at = due.at AND (due.entry IS NOT NULL
        OR known.stream = stream.id AND known.seq = due.seq));

CREATE TRIGGER resolution_comes_back AFTER INSERT ON resolution_due
BEGIN
    INSERT INTO resolution (stream, seq, entry_key, entry, document, action, act, fields, who, why, at, before_code,
        before_reason, before_zh) SELECT * FROM resolution_come;
    DELETE FROM resolution_due WHERE stream IN (SELECT stream FROM stream);
END;
CREATE TRIGGER resolution_finds_its_journal AFTER INSERT ON stream
BEGIN
    INSERT INTO resolution (stream, seq, entry_key, entry, document, action, act, fields, who, why, at, before_code,
        before_reason, before_zh) SELECT * FROM resolution_come;
    DELETE FROM resolution_due WHERE stream IN (SELECT stream FROM stream);
END;

-- Entries that do not stand as captured, as their agent was last told before the hub came back older, by receipts that it
-- brought back. One that is applied as captured after all is told to it.
CREATE TABLE receipt_back (
    document BLOB NOT NULL,
    entry    BLOB NOT NULL,
    agent    INTEGER NOT NULL,
    stream   BLOB NOT NULL,
    seq      INTEGER NOT NULL,
    code     TEXT NOT NULL,
    en       TEXT NOT NULL,
    zh       TEXT NOT NULL,
    PRIMARY KEY (document, entry, agent)
) STRICT, WITHOUT ROWID;

-- rows stand in the order in which commands were given
CREATE TABLE down_command (
    entry       BLOB NOT NULL PRIMARY KEY,
    agent       INTEGER NOT NULL,
    name        TEXT,               -- null where only its result is known
    args        TEXT,
    not_after   INTEGER,
    given_by    TEXT,
    given_at    INTEGER,
    outcome     TEXT,
    text        TEXT,
    reported_at INTEGER
) STRICT;

CREATE INDEX down_command_of_agent ON down_command (agent);

-- Steps of agents' clocks, as their journals tell of them.
CREATE TABLE clock_step (
    entry       BLOB PRIMARY KEY,
    agent       INTEGER NOT NULL,
    at          INTEGER NOT NULL,   -- what the clock then showed
    by_ms       INTEGER NOT NULL,
    offset_ms   INTEGER,            -- then ahead of the hub's clock, where it had been compared
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX clock_step_of_agent ON clock_step (agent, received_at);

-- Definitions of fields, every revision as the entry it travels as.
CREATE TABLE form (
    id    INTEGER PRIMARY KEY,
    entry BLOB NOT NULL UNIQUE,
    bytes BLOB NOT NULL
) STRICT;
