-- Meeting again: forks, lost ranges, entries kept aside, announced heads, sessions, letters.

-- A fork begins at its floor: entries up to there are its parent's, and parent_hash is the chain's hash there.
ALTER TABLE stream ADD COLUMN floor_seq INTEGER NOT NULL DEFAULT 0;
-- Raised with every change of the stream's rows in raw, of its stored mark or of its lost ranges.
ALTER TABLE stream ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
-- What a journal could not take, kept under an id that no agent knows.
ALTER TABLE stream ADD COLUMN is_aside INTEGER NOT NULL DEFAULT 0;
CREATE INDEX stream_of_parent ON stream (parent_stream) WHERE parent_stream IS NOT NULL;

-- A journal's id as of its agent's last HELLO; agent.stream is read no more, because a HELLO opens no journal.
ALTER TABLE agent ADD COLUMN journal BLOB;
UPDATE agent SET journal = (SELECT stream.stream FROM stream WHERE stream.id = agent.stream);

-- What agents said of their journals, and up to when each is complete here. The columns of stream are read no more.
CREATE TABLE heard (
    stream       BLOB PRIMARY KEY,
    agent        INTEGER NOT NULL,
    head_seq     INTEGER NOT NULL,
    head_hash    BLOB NOT NULL,
    caught_up_at INTEGER,
    wait_seq     INTEGER,
    wait_at      INTEGER,
    next_seq     INTEGER,
    next_at      INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO heard SELECT stream, agent, head_seq, head_hash, caught_up_at, wait_seq, wait_at, next_seq, next_at
    FROM stream;

-- The highest head announced per journal and session, until some journal of its agent holds it.
CREATE TABLE announced (
    stream  BLOB NOT NULL,
    session BLOB NOT NULL,
    agent   INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (stream, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX announced_by_agent ON announced (agent, seq);

-- A range that its agent deleted and the hub never had. `open_last` falls as copies bring its end.
CREATE TABLE lost_range (
    id        INTEGER PRIMARY KEY,
    stream    INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    open_last INTEGER NOT NULL,
    prev_hash BLOB NOT NULL,      -- the chain before first_seq
    open_hash BLOB NOT NULL,      -- the chain at open_last
    named_at  INTEGER NOT NULL,
    filled_at INTEGER,
    UNIQUE (stream, first_seq)
) STRICT;

-- Entries that came below the processed mark, to be processed now.
CREATE TABLE fill (
    id         INTEGER PRIMARY KEY,
    stream     INTEGER NOT NULL,
    judged_seq INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL
) STRICT;

-- Every session that said HELLO lately.
CREATE TABLE session (
    session   BLOB PRIMARY KEY,
    agent     INTEGER NOT NULL,
    stream    BLOB NOT NULL,
    began_at  INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    died_at   INTEGER,
    challenge BLOB                -- given to it since another session has the downward journal
) STRICT, WITHOUT ROWID;
CREATE INDEX session_of_agent ON session (agent, began_at);
INSERT OR IGNORE INTO session (session, agent, stream, began_at, last_seen, died_at)
    SELECT session, id, coalesce(journal, zeroblob(16)), last_seen, last_seen, died_at FROM agent;

-- The session that has the downward journal.
ALTER TABLE agent ADD COLUMN holder BLOB;
-- Challenges come of it.
INSERT INTO meta (name, value) VALUES ('fence', randomblob(32));

-- Every letter ever granted; the newest row of a journal counts. The file hub.letters repeats them.
CREATE TABLE letter (
    id     INTEGER PRIMARY KEY,
    agent  BLOB NOT NULL,
    stream BLOB NOT NULL,
    letter TEXT NOT NULL,
    sites  BLOB NOT NULL,
    UNIQUE (stream, letter)
) STRICT;
INSERT INTO letter (agent, stream, letter, sites)
    SELECT agent, journal, letter, stands_for FROM agent WHERE letter IS NOT NULL AND journal IS NOT NULL;

-- Batches of a newer protocol whose envelope this build cannot read, until one that can is started.
CREATE TABLE envelope (
    digest      BLOB PRIMARY KEY,
    agent       BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    frame       BLOB NOT NULL
) STRICT, WITHOUT ROWID;
