-- What agents had acknowledged of their downward journals when the hub came back older. Until that is back, another
-- device of the agent, a copy of its disk, speaks for it in vain.
CREATE TABLE restore_told (
    restore INTEGER NOT NULL,
    agent   BLOB NOT NULL,
    stream  BLOB NOT NULL,
    sites   BLOB NOT NULL,
    had_seq INTEGER NOT NULL,
    PRIMARY KEY (restore, agent, stream)
) STRICT, WITHOUT ROWID;
