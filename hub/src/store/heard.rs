//! What agents said of their journals: how far each goes, and up to when it is complete here.
//!
//! Kept by the journal's id, because an agent speaks of a journal before the hub holds any of it. Every head announced
//! stands, per session, until some journal of its agent holds it.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{SessionId, StreamId};
use waystation_protocol::time::Timestamp;

use super::line::{self, Extent};
use super::{StoreError, hash_at, int, seq_at};

/// Heads an agent may have announced that are not here: beyond that the lowest are forgotten.
const ANNOUNCED: i64 = 256;

/// Notes that the journal reached `head` at hub time `now`. A lower head than announced before is a late copy.
pub(crate) fn announce(
    conn: &Connection,
    (agent, session): (i64, SessionId),
    stream: StreamId,
    head: Mark,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO heard (stream, agent, head_seq, head_hash) VALUES (?1, ?2, 0, zeroblob(32))";
    conn.prepare_cached(sql)?.execute(params![stream.as_bytes(), agent])?;
    let processed: Option<Seq> = conn
        .prepare_cached("SELECT processed_seq FROM stream WHERE stream = ?1")?
        .query_row([stream.as_bytes()], |row| seq_at(row, 0))
        .optional()?;
    let sql = "UPDATE heard SET
        head_seq = max(head_seq, ?2),
        head_hash = CASE WHEN ?2 > head_seq THEN ?3 ELSE head_hash END,
        caught_up_at = CASE WHEN ?2 >= head_seq AND ?2 <= ?5 THEN ?4 ELSE caught_up_at END,
        next_seq = CASE WHEN ?2 < head_seq OR ?2 <= ?5 OR wait_seq IS NULL THEN next_seq ELSE ?2 END,
        next_at = CASE WHEN ?2 < head_seq OR ?2 <= ?5 OR wait_seq IS NULL THEN next_at ELSE ?4 END,
        wait_seq = CASE WHEN ?2 < head_seq OR ?2 <= ?5 THEN wait_seq ELSE coalesce(wait_seq, ?2) END,
        wait_at = CASE WHEN ?2 < head_seq OR ?2 <= ?5 THEN wait_at ELSE coalesce(wait_at, ?4) END
        WHERE stream = ?1";
    let processed = int(processed.unwrap_or_default());
    let row = params![stream.as_bytes(), int(head.seq), head.hash.as_bytes(), now.0, processed];
    conn.prepare_cached(sql)?.execute(row)?;
    stand(conn, (agent, session), stream, head, now)
}

/// Remembers an announced head that is not here.
fn stand(
    conn: &Connection,
    (agent, session): (i64, SessionId),
    stream: StreamId,
    head: Mark,
    now: Timestamp,
) -> Result<(), StoreError> {
    let own = line::find(conn, stream)?;
    let is_here = match &own {
        Some(own) => line::mark_at(conn, own, head.seq)? == Some(head),
        None => head.seq == Seq(0),
    };
    if is_here {
        return Ok(());
    }
    if went_on(conn, agent, stream, head)? {
        return lower(conn, stream);
    }
    let sql = "INSERT INTO announced (stream, session, agent, seq, hash, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at
               WHERE excluded.seq > seq";
    let row = params![stream.as_bytes(), session.as_bytes(), agent, int(head.seq), head.hash.as_bytes(), now.0];
    conn.prepare_cached(sql)?.execute(row)?;
    let sql = "DELETE FROM announced WHERE agent = ?1 AND seq <
               (SELECT seq FROM announced WHERE agent = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
    conn.prepare_cached(sql)?.execute([agent, ANNOUNCED])?;
    Ok(())
}

/// Whether a fork of the journal holds the mark: its device left it, and took along what it had written there. What only the
/// journal it came from holds says nothing of its device, which may be a copy that nobody has heard since.
fn went_on(conn: &Connection, agent: i64, stream: StreamId, mark: Mark) -> Result<bool, StoreError> {
    let sql = "SELECT id FROM stream WHERE agent = ?1 AND is_aside = 0 AND stored_seq >= ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![agent, int(mark.seq)])?;
    while let Some(row) = rows.next()? {
        let fork = line::of_row(conn, row.get(0)?)?;
        if came_from(conn, &fork, stream)? && line::mark_at(conn, &fork, mark.seq)? == Some(mark) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one journal branched off from the other, be it by way of others.
fn came_from(conn: &Connection, fork: &Extent, stream: StreamId) -> Result<bool, StoreError> {
    Ok(line::family(conn, fork)?.iter().any(|(extent, _)| extent.parent == Some(stream)))
}

/// The journal goes as far as it is here, and as the heads that still stand: what a fork of it holds counts there.
fn lower(conn: &Connection, stream: StreamId) -> Result<(), StoreError> {
    let sql = "SELECT seq, hash FROM announced WHERE stream = ?1 ORDER BY seq DESC LIMIT 1";
    let standing = conn
        .prepare_cached(sql)?
        .query_row([stream.as_bytes()], |row| Ok(Mark { seq: seq_at(row, 0)?, hash: hash_at(row, 1)? }))
        .optional()?;
    let stored = line::find(conn, stream)?.map_or(Mark::ZERO, |own| own.stored);
    let head = standing.filter(|standing| standing.seq > stored.seq).unwrap_or(stored);
    let sql = "UPDATE heard SET head_seq = ?2, head_hash = ?3 WHERE stream = ?1 AND head_seq > ?2";
    conn.prepare_cached(sql)?.execute(params![stream.as_bytes(), int(head.seq), head.hash.as_bytes()])?;
    Ok(())
}

/// A journal grew, or a range of it was filled: announced heads that it holds stand no more.
pub(crate) fn settle(conn: &Connection, own: &Extent) -> Result<(), StoreError> {
    let sql = "SELECT stream, session, seq, hash FROM announced WHERE agent = ?1 AND seq <= ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![own.agent, int(own.stored.seq)])?;
    while let Some(row) = rows.next()? {
        let head = Mark { seq: seq_at(row, 2)?, hash: hash_at(row, 3)? };
        if line::mark_at(conn, own, head.seq)? == Some(head) {
            let (stream, session) = (row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?);
            let sql = "DELETE FROM announced WHERE stream = ?1 AND session = ?2";
            conn.prepare_cached(sql)?.execute(params![stream, session])?;
            let stream = StreamId::from_bytes(stream);
            if came_from(conn, own, stream)? {
                lower(conn, stream)?;
            }
        }
    }
    Ok(())
}

/// The journal is processed up to `to`: announcements up to there are met.
pub(crate) fn complete(conn: &Connection, stream: i64, to: Seq) -> Result<(), StoreError> {
    let sql = "UPDATE heard SET
        caught_up_at = CASE WHEN next_seq <= ?2 THEN next_at WHEN wait_seq <= ?2 THEN wait_at ELSE caught_up_at END,
        wait_seq = CASE WHEN next_seq <= ?2 THEN NULL WHEN wait_seq <= ?2 THEN next_seq ELSE wait_seq END,
        wait_at = CASE WHEN next_seq <= ?2 THEN NULL WHEN wait_seq <= ?2 THEN next_at ELSE wait_at END,
        next_seq = CASE WHEN wait_seq <= ?2 THEN NULL ELSE next_seq END,
        next_at = CASE WHEN wait_seq <= ?2 THEN NULL ELSE next_at END
        WHERE stream = (SELECT stream FROM stream WHERE id = ?1)";
    conn.prepare_cached(sql)?.execute(params![stream, int(to)])?;
    Ok(())
}
