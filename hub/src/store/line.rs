//! A journal through its ancestors: the hub's mark at any seq, and the ladder of a WELCOME.
//!
//! A fork holds rows only above its floor; what lies below is its parent's. In a lost range no mark is known but those
//! at its two ends.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::StreamId;
use waystation_protocol::message::Parent;
use waystation_protocol::sync::meeting;

use super::{StoreError, array_at, hash_at, int, raw, seq_at};

/// Most ancestors looked through: each is one disk put back or copied.
const ANCESTORS: usize = 256;

/// Where a journal lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Its row.
    pub(crate) row: i64,
    /// Its agent's row.
    pub(crate) agent: i64,
    /// Where it left its parent; the empty journal where it has none.
    pub(crate) floor: Mark,
    /// Its parent.
    pub(crate) parent: Option<StreamId>,
    /// The contiguous prefix.
    pub(crate) stored: Mark,
    /// Whether it is what another journal could not take.
    pub(crate) is_aside: bool,
}

const EXTENT: &str =
    "SELECT id, agent, floor_seq, CASE WHEN floor_seq > 0 OR is_aside = 1 THEN parent_hash ELSE zeroblob(32) END,
    parent_stream, stored_seq, stored_hash, is_aside FROM stream";

/// A journal that agents know.
pub(crate) fn find(conn: &Connection, stream: StreamId) -> Result<Option<Extent>, StoreError> {
    let sql = format!("{EXTENT} WHERE stream = ?1 AND is_aside = 0");
    Ok(conn.prepare_cached(&sql)?.query_row([stream.as_bytes()], extent).optional()?)
}

/// A journal by its row.
pub(crate) fn of_row(conn: &Connection, row: i64) -> Result<Extent, StoreError> {
    let sql = format!("{EXTENT} WHERE id = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([row], extent)?)
}

fn extent(row: &rusqlite::Row<'_>) -> rusqlite::Result<Extent> {
    Ok(Extent {
        row: row.get(0)?,
        agent: row.get(1)?,
        floor: Mark { seq: seq_at(row, 2)?, hash: hash_at(row, 3)? },
        parent: row.get::<_, Option<[u8; 16]>>(4)?.map(StreamId::from_bytes),
        stored: Mark { seq: seq_at(row, 5)?, hash: hash_at(row, 6)? },
        is_aside: row.get(7)?,
    })
}

/// The journal, or that of its ancestors, in which an entry at `seq` would lie; none where an ancestor is unknown.
fn owner(conn: &Connection, own: &Extent, seq: Seq) -> Result<Option<Extent>, StoreError> {
    let mut extent = *own;
    for _ in 0..ANCESTORS {
        if seq >= extent.floor.seq {
            return Ok(Some(extent));
        }
        let Some(parent) = extent.parent else { return Ok(None) };
        let Some(above) = find(conn, parent)? else { return Ok(None) };
        extent = above;
    }
    Ok(None)
}

/// The journal and those it came from, each with the last seq that lies in it as seen from this one.
pub(crate) fn family(conn: &Connection, own: &Extent) -> Result<Vec<(Extent, Seq)>, StoreError> {
    let (mut family, mut last, mut top) = (Vec::new(), *own, Seq(u64::MAX));
    while family.len() < ANCESTORS {
        family.push((last, top));
        top = top.min(last.floor.seq);
        let Some(parent) = last.parent.map(|parent| find(conn, parent)).transpose()?.flatten() else { break };
        last = parent;
    }
    Ok(family)
}

/// The chain's hash at `seq` as this journal has it; none beyond what is stored, in a lost range, or where the stored
/// bytes are damaged.
pub(crate) fn mark_at(conn: &Connection, own: &Extent, seq: Seq) -> Result<Option<Mark>, StoreError> {
    if seq == Seq(0) {
        return Ok(Some(Mark::ZERO));
    }
    if seq > own.stored.seq {
        return Ok(None);
    }
    let Some(owner) = owner(conn, own, seq)? else { return Ok(None) };
    if let Some(end) = [owner.stored, owner.floor].into_iter().find(|end| end.seq == seq) {
        return Ok(Some(end));
    }
    let near = |sql: &str| {
        let mark = |row: &rusqlite::Row<'_>| Ok(Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? });
        conn.prepare_cached(sql)?.query_row(params![owner.row, int(seq)], mark).optional()
    };
    let ending = near(
        "SELECT last_seq, last_hash FROM raw WHERE stream = ?1 AND first_seq <= ?2
                       ORDER BY first_seq DESC LIMIT 1",
    )?;
    match ending {
        Some(end) if end.seq == seq => Ok(Some(end)),
        Some(end) if end.seq > seq => match raw::containing(conn, owner.row, seq) {
            Ok(stored) => Ok(stored.entries.mark_at(seq)),
            Err(StoreError::Damaged(damage)) => {
                tracing::error!(stream = owner.row, seq = seq.0, damage, "a mark cannot be read back");
                Ok(None)
            }
            Err(error) => Err(error),
        },
        Some(_) | None => {
            Ok(near("SELECT first_seq - 1, prev_hash FROM raw WHERE stream = ?1 AND first_seq = ?2 + 1")?)
        }
    }
}

/// The highest end of a batch at or below `seq`.
fn end_below(conn: &Connection, own: &Extent, seq: Seq) -> Result<Mark, StoreError> {
    let Some(owner) = owner(conn, own, seq)? else { return Ok(Mark::ZERO) };
    if owner.stored.seq <= seq {
        return Ok(owner.stored);
    }
    let sql = "SELECT first_seq, last_seq, prev_hash, last_hash FROM raw
               WHERE stream = ?1 AND first_seq <= ?2 ORDER BY first_seq DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row(params![owner.row, int(seq)], |row| {
        let (first, last) = (seq_at(row, 0)?, seq_at(row, 1)?);
        let (end, column) = if last <= seq { (last, 3) } else { (Seq(first.0 - 1), 2) };
        Ok(Mark { seq: end, hash: hash_at(row, column)? })
    });
    Ok(found.optional()?.unwrap_or(owner.floor))
}

/// The mark a ladder begins with where its journal was left at `left`: no higher than that.
pub(crate) fn top(conn: &Connection, own: &Extent, left: Seq) -> Result<Mark, StoreError> {
    if own.stored.seq <= left {
        return Ok(own.stored);
    }
    match mark_at(conn, own, left)? {
        Some(mark) => Ok(mark),
        None => end_below(conn, own, left),
    }
}

/// `top`, the ends of batches near the rungs below it, the exact marks at `also`, and the empty journal.
pub(crate) fn ladder(conn: &Connection, own: &Extent, top: Mark, also: &[Seq]) -> Result<Vec<Mark>, StoreError> {
    let mut ladder = vec![top, Mark::ZERO];
    for rung in meeting::rungs(top.seq) {
        let mark = end_below(conn, own, rung)?;
        ladder.extend((mark.seq < top.seq).then_some(mark));
    }
    for seq in also.iter().filter(|seq| **seq < top.seq) {
        ladder.extend(mark_at(conn, own, *seq)?);
    }
    ladder.sort_by_key(|mark| std::cmp::Reverse(mark.seq));
    ladder.dedup_by_key(|mark| mark.seq);
    Ok(ladder)
}

/// The nearest journal of `line` that the hub knows as this agent's, and the mark to begin its ladder with.
pub(crate) fn ancestor(
    conn: &Connection,
    agent: i64,
    line: &[Parent],
) -> Result<Option<(StreamId, Extent, Mark)>, StoreError> {
    for left in line.iter().take(waystation_protocol::limits::LINE_STREAMS) {
        let Some(extent) = find(conn, left.stream)?.filter(|extent| extent.agent == agent) else { continue };
        let top = top(conn, &extent, left.at.seq)?;
        return Ok(Some((left.stream, extent, top)));
    }
    Ok(None)
}

/// Whether a copy of the database, which may be of an older build, knows of forks.
pub(crate) fn has_forks(conn: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM pragma_table_info('stream') WHERE name = 'is_aside'";
    Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))? > 0)
}

/// A journal's id by its row.
pub(crate) fn id_of(conn: &Connection, row: i64) -> Result<StreamId, StoreError> {
    let sql = "SELECT stream FROM stream WHERE id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([row], |row| array_at(row, 0).map(StreamId::from_bytes))?)
}
