-- The hub's books. Sites, agents and streams have small integer ids: rows that come by the million carry those.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE site (
    id        INTEGER PRIMARY KEY,
    site      TEXT NOT NULL UNIQUE,
    name      TEXT NOT NULL,
    zone      TEXT NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE agent (
    id               INTEGER PRIMARY KEY,
    agent            BLOB NOT NULL UNIQUE,
    public_key       BLOB NOT NULL,
    sites            BLOB NOT NULL,   -- as of the last HELLO
    stands_for       BLOB NOT NULL,   -- every site it ever stood for: old entries stay valid when its sites change
    letter           TEXT,
    build            TEXT NOT NULL,
    session          BLOB NOT NULL,
    last_session     BLOB,
    stream           INTEGER NOT NULL,
    first_seen       INTEGER NOT NULL,
    last_seen        INTEGER NOT NULL,
    died_at          INTEGER,
    clock_offset_ms  INTEGER,
    disk_free        INTEGER NOT NULL DEFAULT 0,
    backlog_entries  INTEGER NOT NULL DEFAULT 0,
    backlog_bytes    INTEGER NOT NULL DEFAULT 0,
    oldest_unsent_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE agent_site (
    agent INTEGER NOT NULL,
    site  INTEGER NOT NULL,
    PRIMARY KEY (site, agent)
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_site_by_agent ON agent_site (agent);

CREATE TABLE stream (
    id            INTEGER PRIMARY KEY,
    stream        BLOB NOT NULL UNIQUE,
    agent         INTEGER NOT NULL,
    parent_stream BLOB,
    parent_seq    INTEGER,
    parent_hash   BLOB,
    stored_seq    INTEGER NOT NULL DEFAULT 0,
    stored_hash   BLOB NOT NULL,
    processed_seq INTEGER NOT NULL DEFAULT 0,
    prunable_seq  INTEGER NOT NULL DEFAULT 0,
    head_seq      INTEGER NOT NULL DEFAULT 0,   -- the highest ever announced
    head_hash     BLOB NOT NULL,
    caught_up_at  INTEGER,                      -- hub time of the newest announcement that is processed
    wait_seq      INTEGER,                      -- the oldest announcement that is not, with its hub time
    wait_at       INTEGER,
    next_seq      INTEGER,                      -- the newest one
    next_at       INTEGER,
    conflicts     INTEGER NOT NULL DEFAULT 0,
    damage        TEXT                          -- why its stored bytes cannot be processed
) STRICT;

CREATE INDEX stream_of_agent ON stream (agent);

-- One row per batch, its payload as it came. Rows beyond the stream's stored mark wait for a gap to close.
CREATE TABLE raw (
    id          INTEGER PRIMARY KEY,
    stream      INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    prev_hash   BLOB NOT NULL,
    last_hash   BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    payload     BLOB NOT NULL,
    UNIQUE (stream, first_seq)
) STRICT;

-- The latest arrivals have the highest `n`; lists go by it.
CREATE TABLE document (
    n          INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    site       INTEGER NOT NULL,
    state      TEXT NOT NULL,
    number     TEXT,
    opened_at  INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    search     TEXT NOT NULL,
    body       BLOB NOT NULL,
    history    BLOB NOT NULL
) STRICT;

CREATE INDEX document_by_kind ON document (kind, site);

-- Signed rows, only ever appended: a measure is the sum of its rows.
CREATE TABLE fact (
    measure  TEXT NOT NULL,
    site     INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    document INTEGER NOT NULL,
    k1 TEXT, k2 TEXT, k3 TEXT, k4 TEXT,
    v1 INTEGER, v2 INTEGER, v3 INTEGER, v4 INTEGER, v5 INTEGER,
    v6 INTEGER, v7 INTEGER, v8 INTEGER, v9 INTEGER, v10 INTEGER
) STRICT;

-- From a figure to its documents, the latest first: pages end early where many documents count.
CREATE INDEX fact_by_document ON fact (measure, document);

-- Not STRICT: a sum beyond 64 bits becomes approximate instead of refusing every entry after it.
CREATE TABLE rollup (
    measure TEXT NOT NULL,
    site    INTEGER NOT NULL,
    day     INTEGER NOT NULL,
    k1 TEXT NOT NULL DEFAULT '', k2 TEXT NOT NULL DEFAULT '', k3 TEXT NOT NULL DEFAULT '', k4 TEXT NOT NULL DEFAULT '',
    v1 INTEGER NOT NULL DEFAULT 0, v2 INTEGER NOT NULL DEFAULT 0, v3 INTEGER NOT NULL DEFAULT 0,
    v4 INTEGER NOT NULL DEFAULT 0, v5 INTEGER NOT NULL DEFAULT 0, v6 INTEGER NOT NULL DEFAULT 0,
    v7 INTEGER NOT NULL DEFAULT 0, v8 INTEGER NOT NULL DEFAULT 0, v9 INTEGER NOT NULL DEFAULT 0,
    v10 INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (measure, site, day, k1, k2, k3, k4)
) WITHOUT ROWID;

CREATE TABLE quarantine (
    id          INTEGER PRIMARY KEY,
    stream      INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    site        TEXT,
    document    BLOB,
    code        TEXT NOT NULL,
    reason      TEXT NOT NULL,
    is_parked   INTEGER NOT NULL,
    since       INTEGER NOT NULL,
    resolved_at INTEGER,
    resolution  TEXT,
    entry       BLOB NOT NULL,
    UNIQUE (stream, seq)
) STRICT;

CREATE INDEX quarantine_open ON quarantine (stream, is_parked) WHERE resolved_at IS NULL;
