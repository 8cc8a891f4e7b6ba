//! Lost ranges: entries that their agent deleted and the hub never had, named so that no gap is silent.
//!
//! Whoever still holds the bytes may fill a range, from its end downward: a batch that knows the chain's hash at the
//! range's end holds the true entries before it, because each hash covers all before. What comes below the processed
//! mark is processed as a fill of its own.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq, SeqRange};
use waystation_protocol::id::StreamId;
use waystation_protocol::time::Timestamp;

use super::line::{self, Extent};
use super::{Store, StoreError, array_at, hash_at, int, seq_at};

/// What is still missing of a lost range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Its row.
    pub(crate) id: i64,
    /// The mark before its first entry.
    pub(crate) before: Mark,
    /// The mark at its last one.
    pub(crate) end: Mark,
}

/// A lost range for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRange {
    /// Of which journal.
    pub stream: StreamId,
    /// As it was named.
    pub named: SeqRange,
    /// What is still missing of it; none once it is filled.
    pub open: Option<SeqRange>,
    /// When it was named, by the hub's clock.
    pub named_at: Timestamp,
    /// When its last entry came, by the hub's clock.
    pub filled_at: Option<Timestamp>,
}

/// Entries below the processed mark that are to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    /// Its row.
    pub(crate) id: i64,
    /// Its journal's row.
    pub(crate) stream: i64,
    /// The last entry processed.
    pub(crate) judged: Seq,
    /// Its last entry.
    pub(crate) last: Seq,
}

/// Names everything between two marks of a journal as lost.
pub(crate) fn name(conn: &Connection, stream: i64, before: Mark, end: Mark, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO lost_range (stream, first_seq, last_seq, open_last, prev_hash, open_hash, named_at)
               VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)";
    let (first, last) = (int(before.seq.next()), int(end.seq));
    let row = params![stream, first, last, before.hash.as_bytes(), end.hash.as_bytes(), now.0];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// The open ranges of a journal, the lowest first.
pub(crate) fn open(conn: &Connection, stream: i64) -> Result<Vec<Open>, StoreError> {
    let sql = "SELECT id, first_seq - 1, prev_hash, open_last, open_hash FROM lost_range
               WHERE stream = ?1 AND filled_at IS NULL ORDER BY first_seq";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([stream], |row| {
        let before = Mark { seq: seq_at(row, 1)?, hash: hash_at(row, 2)? };
        Ok(Open { id: row.get(0)?, before, end: Mark { seq: seq_at(row, 3)?, hash: hash_at(row, 4)? } })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The open ranges of a journal and of those it came from, with the rows they stand in; the nearest journal's first.
pub(crate) fn of_line(conn: &Connection, own: &Extent) -> Result<Vec<(i64, Open)>, StoreError> {
    let mut ranges = Vec::new();
    for (extent, top) in line::family(conn, own)? {
        let within = open(conn, extent.row)?.into_iter().filter(|open| open.end.seq <= top);
        ranges.extend(within.map(|open| (extent.row, open)));
    }
    Ok(ranges)
}

/// The open range that begins with `first`, if one does.
pub(crate) fn beginning_at(conn: &Connection, stream: i64, first: Seq) -> Result<Option<Open>, StoreError> {
    Ok(open(conn, stream)?.into_iter().find(|open| open.before.seq.next() == first))
}

/// Entries after `after` up to the range's end came. They are processed as a fill where the processed mark has passed
/// them. Whether nothing is missing any more.
pub(crate) fn shrink(
    conn: &Connection,
    stream: i64,
    open: &Open,
    after: Mark,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_whole = after.seq == open.before.seq;
    let sql = "UPDATE lost_range SET open_last = ?2, open_hash = ?3, filled_at = ?4 WHERE id = ?1 AND open_last = ?5";
    let filled_at = is_whole.then_some(now.0);
    let row = params![open.id, int(after.seq), after.hash.as_bytes(), filled_at, int(open.end.seq)];
    if conn.prepare_cached(sql)?.execute(row)? != 1 {
        return Err(StoreError::Overtaken { stream });
    }
    let sql = "INSERT INTO fill (stream, judged_seq, last_seq)
               SELECT ?1, ?2, ?3 FROM stream WHERE id = ?1 AND processed_seq >= ?3";
    conn.prepare_cached(sql)?.execute(params![stream, int(after.seq), int(open.end.seq)])?;
    Ok(is_whole)
}

/// Whether a range that processing passed over is still as missing as it was then.
pub(crate) fn stands(conn: &Connection, open: &Open) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM lost_range WHERE id = ?1 AND open_last = ?2 AND filled_at IS NULL";
    let found = conn.prepare_cached(sql)?.query_row(params![open.id, int(open.end.seq)], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// What is to be processed below processed marks.
pub(crate) fn fills(conn: &Connection) -> Result<Vec<Fill>, StoreError> {
    let sql = "SELECT id, stream, judged_seq, last_seq FROM fill ORDER BY stream, judged_seq";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Fill { id: row.get(0)?, stream: row.get(1)?, judged: seq_at(row, 2)?, last: seq_at(row, 3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A fill was processed up to `to`, by compare-and-set; at its end it goes.
pub(crate) fn advance(conn: &Connection, fill: &Fill, to: Seq) -> Result<(), StoreError> {
    let changed = if to == fill.last {
        let sql = "DELETE FROM fill WHERE id = ?1 AND judged_seq = ?2";
        conn.prepare_cached(sql)?.execute(params![fill.id, int(fill.judged)])?
    } else {
        let sql = "UPDATE fill SET judged_seq = ?3 WHERE id = ?1 AND judged_seq = ?2";
        conn.prepare_cached(sql)?.execute(params![fill.id, int(fill.judged), int(to)])?
    };
    if changed == 1 { Ok(()) } else { Err(StoreError::Overtaken { stream: fill.stream }) }
}

impl Store {
    /// Every range ever named lost, the latest first; those that were filled since, too.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub fn lost_ranges(&self) -> Result<Vec<LostRange>, StoreError> {
        all(&*self.inner.pool.lend()?)
    }
}

pub(super) fn all(conn: &Connection) -> Result<Vec<LostRange>, StoreError> {
    let sql = "SELECT stream.stream, first_seq, last_seq, open_last, named_at, filled_at FROM lost_range
               JOIN stream ON stream.id = lost_range.stream ORDER BY lost_range.id DESC";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (first, filled_at) = (seq_at(row, 1)?, row.get::<_, Option<i64>>(5)?.map(Timestamp));
        let open = SeqRange { first, last: seq_at(row, 3)? };
        Ok(LostRange {
            stream: StreamId::from_bytes(array_at(row, 0)?),
            named: SeqRange { first, last: seq_at(row, 2)? },
            open: filled_at.is_none().then_some(open),
            named_at: Timestamp(row.get(4)?),
            filled_at,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
