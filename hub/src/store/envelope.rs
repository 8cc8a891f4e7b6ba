//! Batches of a newer protocol whose envelope this build cannot read: kept as they came, never acknowledged.
//!
//! Their agent sends them again for as long as it has them. A build that can read them takes them up as it starts.

use rusqlite::{Connection, TransactionBehavior, params};
use waystation_protocol::id::AgentId;
use waystation_protocol::time::Timestamp;

use super::lane::Lanes;
use super::{Retention, StoreError, array_at};
use crate::ingest::{self, Incoming, Keys, Outcome, Upward};

/// Most kept per agent: an agent that is ahead of its hub sends the same few again and again.
const PER_AGENT: i64 = 256;

/// Keeps a frame whose signature was verified. Whether it was not there before.
pub(crate) fn keep(conn: &Connection, agent: AgentId, frame: &[u8], now: Timestamp) -> Result<bool, StoreError> {
    let sql = "INSERT OR IGNORE INTO envelope (digest, agent, received_at, frame) SELECT ?1, ?2, ?3, ?4
               WHERE (SELECT count(*) FROM envelope WHERE agent = ?2) < ?5";
    let digest = blake3::hash(frame);
    let row = params![digest.as_bytes(), agent.as_bytes(), now.0, frame, PER_AGENT];
    Ok(conn.prepare_cached(sql)?.execute(row)? > 0)
}

/// Stores what this build can read of what an older one kept.
pub(crate) fn take_up(conn: &mut Connection, keys: &Keys, retention: Retention) -> Result<Outcome, StoreError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut group = Vec::new();
    {
        let mut statement =
            tx.prepare("SELECT digest, agent, received_at, frame FROM envelope ORDER BY received_at")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (agent, frame) = (AgentId::from_bytes(array_at(row, 1)?), row.get::<_, Vec<u8>>(3)?);
            let Ok(message @ Upward::Batch(..)) = ingest::verify(agent, &frame, keys) else { continue };
            let received_at = Timestamp(row.get(2)?);
            group.push(Incoming { agent, message, received_at, wire_bytes: 0 });
            tx.execute("DELETE FROM envelope WHERE digest = ?1", [array_at::<32>(row, 0)?])?;
        }
    }
    let outcome = ingest::store_group(&tx, &mut Lanes::default(), &group, retention)?;
    tx.commit()?;
    Ok(outcome)
}
