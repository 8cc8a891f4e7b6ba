//! Journals as they came: one row per batch, its compressed payload untouched.
//!
//! Rows between a stream's floor and its stored mark never overlap and leave no gap but lost ranges; rows beyond it wait
//! for one to close. Whatever is read is unpacked and its chain recomputed, so damaged bytes are never taken for entries.

use rusqlite::{Connection, OptionalExtension, Row, params};
use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::id::StreamId;
use waystation_protocol::message::Batch;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::error::StoreError;
use super::{hash_at, int, line, lost, seq_at};

/// Rows looked at in one go when the prunable mark moves; the rest follow with the next heartbeat.
const PRUNE_STEP: i64 = 256;

/// A stored batch, unpacked and found whole.
pub(crate) struct Stored {
    pub(crate) entries: Unpacked,
    pub(crate) received_at: Timestamp,
    /// The protocol of the frame it came in.
    pub(crate) protocol: u8,
}

/// Where a batch came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) received_at: Timestamp,
    pub(crate) protocol: u8,
}

/// A batch kept ahead of a gap.
pub(crate) struct Ahead {
    pub(crate) first: Seq,
    pub(crate) prev: Hash,
    pub(crate) last: Mark,
}

/// Entries to write, of a batch that may hold more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) entries: &'a Unpacked,
    /// The payload as it came.
    pub(crate) payload: &'a [u8],
    pub(crate) range: SeqRange,
    pub(crate) arrival: Arrival,
}

/// Writes entries of a batch. Only where others of it are here already is the part packed anew.
pub(crate) fn insert(conn: &Connection, stream: i64, part: &Part<'_>) -> Result<(), StoreError> {
    let Part { entries, payload, range, arrival } = part;
    let mark = |seq| entries.mark_at(seq).ok_or_else(|| StoreError::damaged("a batch lost its own mark"));
    let (before, last) = (mark(Seq(range.first.0 - 1))?, mark(range.last)?);
    let is_whole = before == entries.before() && last == entries.last() || is_planted(Plant::OverlapTwice);
    let packed = (!is_whole).then(|| pack(entries, *range));
    let payload: &[u8] = packed.as_deref().unwrap_or(payload);
    let sql = "INSERT INTO raw (stream, first_seq, last_seq, prev_hash, last_hash, received_at, payload, protocol)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let row = params![
        stream,
        int(range.first),
        int(range.last),
        before.hash.as_bytes(),
        last.hash.as_bytes(),
        arrival.received_at.0,
        payload,
        arrival.protocol
    ];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn pack(entries: &Unpacked, range: SeqRange) -> Vec<u8> {
    let mut builder = Builder::new();
    for (_, bytes) in entries.entries_from(range.first).take_while(|(mark, _)| mark.seq <= range.last) {
        let taken = builder.push(bytes);
        assert!(taken, "a part of a batch fits where the whole did");
    }
    builder.finish()
}

/// Takes a kept batch out, with its payload; none where there is none, or where its bytes are damaged.
pub(crate) fn take_out(conn: &Connection, stream: i64, first: Seq) -> Result<Option<(Stored, Vec<u8>)>, StoreError> {
    let key = params![stream, int(first)];
    let sql = "SELECT first_seq, last_seq, prev_hash, last_hash, received_at, payload, protocol FROM raw
               WHERE stream = ?1 AND first_seq = ?2";
    let read = |row: &Row<'_>| Ok((open(row)?, row.get::<_, Vec<u8>>(5)?));
    let found = conn.prepare_cached(sql)?.query_row(key, read).optional()?;
    conn.prepare_cached("DELETE FROM raw WHERE stream = ?1 AND first_seq = ?2")?.execute(key)?;
    match found {
        Some((Ok(stored), payload)) => Ok(Some((stored, payload))),
        Some((Err(damage), _)) => {
            tracing::error!(stream, seq = first.0, %damage, "a kept batch cannot be read back and is dropped");
            Ok(None)
        }
        None => Ok(None),
    }
}

/// The stored batch that holds `seq`, which lies within the stream's stored prefix.
pub(crate) fn containing(conn: &Connection, stream: i64, seq: Seq) -> Result<Stored, StoreError> {
    let sql = "SELECT first_seq, last_seq, prev_hash, last_hash, received_at, payload, protocol FROM raw
               WHERE stream = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row(params![stream, int(seq)], open).optional()?;
    let stored = found.ok_or_else(|| missing(stream, seq))??;
    if stored.entries.mark_at(seq).is_none() || seq <= stored.entries.before().seq {
        return Err(missing(stream, seq));
    }
    Ok(stored)
}

/// The same, with its payload.
pub(crate) fn with_payload(conn: &Connection, stream: i64, seq: Seq) -> Result<(Stored, Vec<u8>), StoreError> {
    let stored = containing(conn, stream, seq)?;
    let sql = "SELECT payload FROM raw WHERE stream = ?1 AND first_seq = ?2";
    let first = stored.entries.before().seq.next();
    let payload = conn.prepare_cached(sql)?.query_row(params![stream, int(first)], |row| row.get(0))?;
    Ok((stored, payload))
}

fn missing(stream: i64, seq: Seq) -> StoreError {
    StoreError::damaged(format!("no stored batch of stream {stream} holds seq {seq}"))
}

fn open(row: &Row<'_>) -> rusqlite::Result<Result<Stored, StoreError>> {
    let (first, last) = (seq_at(row, 0)?, seq_at(row, 1)?);
    let last = Mark { seq: last, hash: hash_at(row, 3)? };
    let batch = Batch {
        stream: StreamId::from_bytes([0; 16]),
        parent: None,
        first_seq: first,
        count: u32::try_from(last.seq.0 + 1 - first.0).unwrap_or(u32::MAX),
        prev_hash: hash_at(row, 2)?,
        base: None,
        payload: row.get::<_, Vec<u8>>(5)?.into(),
    };
    let (received_at, protocol) = (Timestamp(row.get(4)?), row.get(6)?);
    Ok(match Unpacked::open(&batch) {
        Ok(entries) if entries.last() == last => Ok(Stored { entries, received_at, protocol }),
        Ok(_) => Err(StoreError::damaged(format!("the chain of the batch at seq {first} does not match its mark"))),
        Err(error) => Err(StoreError::damaged(format!("the batch at seq {first}: {error}"))),
    })
}

/// One entry's bytes, and how they arrived.
pub(crate) fn entry(conn: &Connection, stream: i64, seq: Seq) -> Result<(Vec<u8>, Arrival), StoreError> {
    let stored = containing(conn, stream, seq)?;
    let bytes = stored.entries.entries_from(seq).next().map(|(_, bytes)| bytes.to_vec());
    let arrival = Arrival { received_at: stored.received_at, protocol: stored.protocol };
    Ok((bytes.ok_or_else(|| missing(stream, seq))?, arrival))
}

/// Batches kept beyond the stored mark.
pub(crate) fn ahead(conn: &Connection, stream: i64, stored: Seq) -> Result<Vec<Ahead>, StoreError> {
    let sql = "SELECT first_seq, last_seq, prev_hash, last_hash FROM raw WHERE stream = ?1 AND first_seq > ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![stream, int(stored)], |row| {
        let last = Mark { seq: seq_at(row, 1)?, hash: hash_at(row, 3)? };
        Ok(Ahead { first: seq_at(row, 0)?, prev: hash_at(row, 2)?, last })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Recomputes a whole journal from its rows: they follow one another from its floor to `stored` without a gap but named
/// ranges, and each row beyond it is whole by itself. `progress` is told the entries of each batch. Also reads a copy
/// that an older build made.
pub(crate) fn verify(
    conn: &Connection,
    stream: i64,
    stored: Mark,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StoreError> {
    let has_forks = line::has_forks(conn)?;
    let floor = if has_forks { line::of_row(conn, stream)?.floor } else { Mark::ZERO };
    let ranges = if has_forks { lost::open(conn, stream)? } else { Vec::new() };
    let pass = |at: Mark| ranges.iter().find(|open| open.before == at).map_or(at, |open| open.end);
    let protocol = if has_column(conn, "raw", "protocol")? { "protocol" } else { "1" };
    let sql = format!(
        "SELECT first_seq, last_seq, prev_hash, last_hash, received_at, payload, {protocol} FROM raw
         WHERE stream = ?1 ORDER BY first_seq"
    );
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([stream])?;
    if has_forks {
        branches_off(conn, stream)?;
    }
    let mut at = floor;
    while let Some(row) = rows.next()? {
        let batch = open(row)??;
        if at.seq < stored.seq {
            let follows = [at, pass(at)].contains(&batch.entries.before());
            if follows {
                at = batch.entries.last();
            } else if batch.entries.before().seq < stored.seq {
                let found = batch.entries.before().seq;
                return Err(StoreError::damaged(format!("the batch after seq {found} does not follow seq {}", at.seq)));
            }
        }
        progress(batch.entries.len() as u64);
    }
    if [at, pass(at)].contains(&stored) {
        return Ok(());
    }
    Err(StoreError::damaged(format!("its batches end at seq {}, not at its stored mark {}", at.seq, stored.seq)))
}

/// A fork's parent holds its branch point.
fn branches_off(conn: &Connection, stream: i64) -> Result<(), StoreError> {
    let own = line::of_row(conn, stream)?;
    if own.floor == Mark::ZERO || own.is_aside {
        return Ok(());
    }
    let parent = own.parent.map(|parent| line::find(conn, parent)).transpose()?.flatten();
    let held = parent.map(|parent| line::mark_at(conn, &parent, own.floor.seq)).transpose()?.flatten();
    if held == Some(own.floor) {
        return Ok(());
    }
    Err(StoreError::damaged(format!("its parent does not hold seq {}, where it branched off", own.floor.seq)))
}

fn has_column(conn: &Connection, table: &str, column: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    Ok(conn.query_row(sql, [table, column], |row| row.get::<_, i64>(0))? > 0)
}

/// How far the sender may delete: whole batches up to `ceiling` that arrived before `before`.
pub(crate) fn prunable(
    conn: &Connection,
    stream: i64,
    from: Seq,
    ceiling: Seq,
    before: Timestamp,
) -> Result<Seq, StoreError> {
    let sql = "SELECT last_seq, received_at FROM raw
               WHERE stream = ?1 AND first_seq > ?2 ORDER BY first_seq LIMIT ?3";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![stream, int(from), PRUNE_STEP])?;
    let mut mark = from;
    while let Some(row) = rows.next()? {
        let (last, received_at) = (seq_at(row, 0)?, Timestamp(row.get(1)?));
        if last > ceiling || received_at >= before {
            break;
        }
        mark = last;
    }
    Ok(mark)
}
