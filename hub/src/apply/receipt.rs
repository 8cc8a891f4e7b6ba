//! Receipts: what became of an entry that was not simply applied, told to the agent whose journal holds it.
//!
//! This is the one place for it. Called within the transaction that sets the entry aside or resolves it, so that a
//! receipt written here can neither be lost nor speak of what was rolled back.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::down::{Amended, Fate, Receipt};
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, StreamId};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::standing::Fix;
use crate::down::{journal, relay, trail};
use crate::store::{StoreError, array_at, int};

/// Tells the agent what became of the entry at this place, by its row in quarantine. `fix`: what stands for it. `at`:
/// when that came to be; otherwise the entry's arrival is named, so that a rebuild writes the same receipt.
pub(super) fn tell(
    conn: &Connection,
    (stream, seq): (i64, Seq),
    fate: Fate,
    (fix, at): (Option<&Fix>, Option<Timestamp>),
    now: Timestamp,
) -> Result<(), StoreError> {
    if is_planted(Plant::ReceiptDropped) {
        return Ok(());
    }
    let sql =
        "SELECT stream.agent, iif(is_aside, coalesce(parent_stream, stream.stream), stream.stream), document, code,
                      reason_zh, reason, entry, since FROM quarantine
               JOIN stream ON stream.id = quarantine.stream JOIN agent ON agent.id = stream.agent
               WHERE quarantine.stream = ?1 AND seq = ?2 AND is_hub = 0";
    let found = conn.prepare_cached(sql)?.query_row(params![stream, int(seq)], |row| {
        let bytes: Vec<u8> = row.get(6)?;
        let receipt = Receipt {
            entry: Entry::from_bytes(&bytes).ok().map(|entry| entry.id),
            document: row.get::<_, Option<[u8; 16]>>(2)?.map(DocId::from_bytes),
            stream: StreamId::from_bytes(array_at(row, 1)?),
            seq,
            fate,
            code: row.get(3)?,
            zh: row.get(4)?,
            en: row.get(5)?,
            amended: fix.map(|fix| Amended { act: fix.act.clone(), set: fix.set.clone() }),
            resolved: None,
        };
        let at = at.unwrap_or(Timestamp(row.get(7)?));
        Ok((row.get::<_, i64>(0)?, receipt, at))
    });
    // the hub's own entries have nobody to be told
    let Some((agent, receipt, at)) = found.optional()? else { return Ok(()) };
    let receipt = Receipt { resolved: trail::resolved(conn, (stream, seq), fate)?, ..receipt };
    journal::tell(conn, agent, &relay::sealed(&receipt, at), now)
}
