//! Entries kept aside: valid, signed, and not taken by their journal, which went on without them.
//!
//! Each such batch is a journal of its own under an id that no agent knows, marked `is_aside`, so that it is backed up,
//! checked, read and resolved like any other. Its entries are never applied by themselves: processing shows each in
//! quarantine until some journal holds it or a person decides.

use rusqlite::{Connection, params};
use waystation_protocol::chain::{Hash, SeqRange};
use waystation_protocol::id::StreamId;

use super::lost::Open;
use super::raw::{self, Part, Stored};
use super::{StoreError, int};

/// Most batches kept aside per agent. Each is one that was under way while its disk was put back.
const BATCHES: i64 = 1_024;

/// Keeps a whole batch of `stream` aside. Gives the row it has from then on; none if it is kept already, or if its agent
/// has too many.
pub(crate) fn keep(
    conn: &Connection,
    stream: StreamId,
    agent: i64,
    part: &Part<'_>,
) -> Result<Option<i64>, StoreError> {
    let (before, last) = (part.entries.before(), part.entries.last());
    let sql = "INSERT OR IGNORE INTO stream (stream, agent, parent_stream, parent_seq, parent_hash, floor_seq,
               stored_seq, stored_hash, processed_seq, head_hash, is_aside)
               SELECT ?1, ?2, ?3, ?4, ?5, ?4, ?6, ?7, ?4, ?7, 1
               WHERE (SELECT count(*) FROM stream WHERE agent = ?2 AND is_aside = 1) < ?8";
    let changed = conn.prepare_cached(sql)?.execute(params![
        id(stream, before.hash, last.hash).as_bytes(),
        agent,
        stream.as_bytes(),
        int(before.seq),
        before.hash.as_bytes(),
        int(last.seq),
        last.hash.as_bytes(),
        BATCHES
    ])?;
    if changed == 0 {
        return Ok(None);
    }
    let row = conn.last_insert_rowid();
    let range = SeqRange { first: before.seq.next(), last: last.seq };
    raw::insert(conn, row, &Part { range, ..*part })?;
    Ok(Some(row))
}

/// The same id for the same entries of the same journal.
fn id(stream: StreamId, before: Hash, last: Hash) -> StreamId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"waystation aside").update(stream.as_bytes()).update(before.as_bytes()).update(last.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    StreamId::from_bytes(id)
}

/// What is kept aside of `stream` and knows the end of a lost range.
pub(crate) fn reaching(
    conn: &Connection,
    stream: StreamId,
    open: &Open,
) -> Result<Option<(Stored, Vec<u8>)>, StoreError> {
    let sql = "SELECT id FROM stream WHERE parent_stream = ?1 AND is_aside = 1 AND floor_seq < ?2 AND stored_seq >= ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![stream.as_bytes(), int(open.end.seq)], |row| row.get::<_, i64>(0))?;
    for row in rows.collect::<Result<Vec<_>, _>>()? {
        match raw::with_payload(conn, row, open.end.seq) {
            Ok(found) if found.0.entries.mark_at(open.end.seq) == Some(open.end) => return Ok(Some(found)),
            Ok(_) => {}
            Err(StoreError::Damaged(damage)) => tracing::error!(stream = row, damage, "what is kept aside is damaged"),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
