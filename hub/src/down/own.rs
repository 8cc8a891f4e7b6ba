//! Journals the hub itself writes: its own acts, and what each agent brought back after the hub had forgotten it.
//!
//! They are rows like any agent's journal, so backup, check, rebuild and processing need to know nothing of them. After
//! the hub came back older its own journal begins anew: the old one may have gone on in what was lost.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::id::StreamId;
use waystation_protocol::message::Batch;
use waystation_protocol::site::Sites;
use waystation_protocol::time::Timestamp;

use super::journal::Stream;
use crate::clock;
use crate::store::raw::{self, Arrival, Part};
use crate::store::{StoreError, hash_at, int, seq_at};

/// Where the id of the journal now written to is kept.
const OWN: &str = "own_stream";

/// One journal of the hub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    /// Its row.
    pub(crate) row: i64,
    pub(crate) stored: Mark,
    pub(crate) processed: Seq,
}

/// The hub's row among the agents.
fn hub_row(conn: &Connection, now: Timestamp) -> Result<i64, StoreError> {
    let found = conn.prepare_cached("SELECT id FROM agent WHERE is_hub = 1")?.query_row([], |row| row.get(0));
    if let Some(row) = found.optional()? {
        return Ok(row);
    }
    let nowhere = codec::encode(&Sites::Only(Vec::new()));
    let sql = "INSERT INTO agent (agent, public_key, sites, stands_for, build, session, stream, first_seen, last_seen, is_hub)
               SELECT value, zeroblob(32), ?1, ?1, '', zeroblob(16), 0, ?2, ?2, 1 FROM meta WHERE name = 'hub_id'";
    conn.execute(sql, params![nowhere, now.0])?;
    Ok(conn.last_insert_rowid())
}

/// The journal of the hub's acts; begun where there is none.
pub(crate) fn acts(conn: &Connection, now: Timestamp) -> Result<Own, StoreError> {
    let sql = "SELECT stream.id FROM meta JOIN stream ON stream.stream = meta.value WHERE meta.name = ?1";
    let found: Option<i64> = conn.prepare_cached(sql)?.query_row([OWN], |row| row.get(0)).optional()?;
    if let Some(row) = found {
        return at(conn, row);
    }
    let (row, id) = create(conn, false, now)?;
    conn.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![OWN, id.as_bytes()])?;
    at(conn, row)
}

/// The journal of what the agent of a downward stream brought back; begun where there is none.
pub(crate) fn returned(conn: &Connection, stream: &mut Stream, now: Timestamp) -> Result<Own, StoreError> {
    if let Some(row) = stream.returned {
        return at(conn, row);
    }
    let (row, _) = create(conn, true, now)?;
    conn.execute("UPDATE down_stream SET returned = ?2 WHERE id = ?1", [stream.row, row])?;
    stream.returned = Some(row);
    at(conn, row)
}

/// The hub came back older: its next act begins a new journal.
pub(crate) fn retire(conn: &Connection) -> Result<(), StoreError> {
    conn.execute("DELETE FROM meta WHERE name = ?1", [OWN])?;
    Ok(())
}

fn create(conn: &Connection, is_down: bool, now: Timestamp) -> Result<(i64, StreamId), StoreError> {
    let (hub, id) = (hub_row(conn, now)?, StreamId::from_bytes(clock::random_id()?));
    let sql = "INSERT INTO stream (stream, agent, stored_hash, head_hash, is_down) VALUES (?1, ?2, ?3, ?3, ?4)";
    conn.prepare_cached(sql)?.execute(params![id.as_bytes(), hub, Hash::ZERO.as_bytes(), is_down])?;
    Ok((conn.last_insert_rowid(), id))
}

fn at(conn: &Connection, row: i64) -> Result<Own, StoreError> {
    let sql = "SELECT stored_seq, stored_hash, processed_seq FROM stream WHERE id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([row], |found| {
        let stored = Mark { seq: seq_at(found, 0)?, hash: hash_at(found, 1)? };
        Ok(Own { row, stored, processed: seq_at(found, 2)? })
    })?)
}

/// Appends entries' bytes, and gives the journal as it then is.
pub(crate) fn append(conn: &Connection, own: Own, entries: &[Vec<u8>], now: Timestamp) -> Result<Own, StoreError> {
    let (mut builder, mut stored) = (Builder::new(), own.stored);
    for entry in entries {
        if !builder.push(entry) {
            stored = write(conn, own.row, stored, &mut builder, now)?;
            let taken = builder.push(entry);
            assert!(taken, "an empty batch takes any legal entry");
        }
    }
    stored = write(conn, own.row, stored, &mut builder, now)?;
    let sql = "UPDATE stream SET stored_seq = ?2, stored_hash = ?3, revision = revision + 1
               WHERE id = ?1 AND stored_seq = ?4 AND stored_hash = ?5";
    let (from, to) = (own.stored, stored);
    let marks = params![own.row, int(to.seq), to.hash.as_bytes(), int(from.seq), from.hash.as_bytes()];
    if conn.prepare_cached(sql)?.execute(marks)? != 1 {
        return Err(StoreError::Overtaken { stream: own.row });
    }
    Ok(Own { stored, ..own })
}

fn write(
    conn: &Connection,
    row: i64,
    from: Mark,
    builder: &mut Builder,
    received_at: Timestamp,
) -> Result<Mark, StoreError> {
    let count = builder.count();
    if count == 0 {
        return Ok(from);
    }
    let batch = Batch {
        stream: StreamId::from_bytes([0; 16]),
        parent: None,
        first_seq: from.seq.next(),
        count,
        prev_hash: from.hash,
        base: None,
        payload: builder.finish().into(),
    };
    let entries = Unpacked::open(&batch).map_err(|error| StoreError::damaged(error.to_string()))?;
    let arrival = Arrival { received_at, protocol: PROTOCOL_VERSION };
    let range = SeqRange { first: batch.first_seq, last: entries.last().seq };
    raw::insert(conn, row, &Part { entries: &entries, payload: &batch.payload, range, arrival })?;
    Ok(entries.last())
}

/// How far a journal of the hub's is stored, for whoever processes it.
pub(crate) fn grown(own: Own) -> (i64, Seq) {
    (own.row, own.stored.seq)
}
