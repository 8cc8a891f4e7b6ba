//! What agents may delete: processed, in the newest checked backup where there is one, and older than the retention
//! period.
//!
//! The mark of a fork speaks also of what lies below its floor, so it waits there for its parent's.

use rusqlite::{Connection, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::line::{self, Extent};
use super::{Retention, StoreError, ceiling, int, raw, seq_at};

/// Most ancestors whose marks are moved in one go; the rest follow with the next heartbeat.
const ANCESTORS: usize = 16;

/// Moves the prunable mark of a journal, and first those of the journals it came from. Whether it moved.
pub(crate) fn advance(
    conn: &Connection,
    own: &Extent,
    retention: Retention,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut family = vec![*own];
    while let Some(parent) = family[family.len() - 1].parent.filter(|_| family.len() < ANCESTORS) {
        let Some(extent) = line::find(conn, parent)? else { break };
        family.push(extent);
    }
    let (mut moved, mut below) = (false, None);
    while let Some(extent) = family.pop() {
        let (was, is) = one(conn, &extent, below, retention, now)?;
        (moved, below) = (is > was, Some(is));
    }
    Ok(moved)
}

/// The mark as it was and as it is. `below`: the parent's.
fn one(
    conn: &Connection,
    extent: &Extent,
    below: Option<Seq>,
    retention: Retention,
    now: Timestamp,
) -> Result<(Seq, Seq), StoreError> {
    let sql = "SELECT prunable_seq, processed_seq FROM stream WHERE id = ?1";
    let (was, processed) =
        conn.prepare_cached(sql)?.query_row([extent.row], |row| Ok((seq_at(row, 0)?, seq_at(row, 1)?)))?;
    let inherited = was.max(below.unwrap_or_default().min(extent.floor.seq));
    let mut is = inherited;
    if inherited >= extent.floor.seq {
        let kept_ms = if is_planted(Plant::PrunableTooEarly) { 0 } else { retention.ms };
        let before = Timestamp(now.0.saturating_sub(kept_ms));
        let ceiling = ceiling(conn, extent.row, retention)?.min(processed);
        if ceiling > inherited {
            is = raw::prunable(conn, extent.row, inherited, ceiling, before)?;
        }
    }
    if is > was {
        let sql = "UPDATE stream SET prunable_seq = ?2 WHERE id = ?1";
        conn.prepare_cached(sql)?.execute(params![extent.row, int(is)])?;
    }
    Ok((was, is))
}
