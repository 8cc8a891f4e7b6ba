//! Steps of agents' clocks: events of their journals that stand on no document.
//!
//! A step is known by its entry, so that processing it again, or a copy of it in another branch, counts once.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::down::ClockStep;
use waystation_protocol::entry::Entry;
use waystation_protocol::time::Timestamp;

use super::StoreError;

/// A step of an agent's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStepRow {
    /// What the clock showed after it, held by its floor.
    pub at: Timestamp,
    /// By how many milliseconds it went forward; back if negative.
    pub by_ms: i64,
    /// By how much it then was thought to be ahead of the hub's; none where they had not been compared.
    pub offset_ms: Option<i64>,
    /// When the hub heard of it, by the hub's clock.
    pub received_at: Timestamp,
}

/// Keeps a step that the journal `stream` tells of.
pub(crate) fn note(
    conn: &Connection,
    stream: i64,
    entry: &Entry,
    step: ClockStep,
    at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT OR IGNORE INTO clock_step (entry, agent, at, by_ms, offset_ms, received_at)
               SELECT ?1, agent, ?3, ?4, ?5, ?6 FROM stream WHERE id = ?2";
    let row = params![entry.id.as_bytes(), stream, entry.occurred_at.0, step.by_ms, step.offset_ms, at.0];
    conn.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

/// How many steps an agent's clock made, and the one heard of last.
pub(super) fn of_agent(conn: &Connection, agent: &[u8; 16]) -> Result<(u64, Option<ClockStepRow>), StoreError> {
    let sql = "SELECT at, by_ms, offset_ms, received_at, count(*) OVER () FROM clock_step
               WHERE agent = (SELECT id FROM agent WHERE agent = ?1) ORDER BY received_at DESC, at DESC LIMIT 1";
    let found = conn.prepare_cached(sql)?.query_row([agent], |row| {
        let step = ClockStepRow {
            at: Timestamp(row.get(0)?),
            by_ms: row.get(1)?,
            offset_ms: row.get(2)?,
            received_at: Timestamp(row.get(3)?),
        };
        Ok((row.get::<_, i64>(4)?.unsigned_abs(), Some(step)))
    });
    Ok(found.optional()?.unwrap_or((0, None)))
}
