//! What people decided about entries set aside, as receipts carry it down and agents bring it back.
//!
//! A hub that came back older has forgotten who fixed, replayed or waived what. Each receipt that is brought back asks for
//! the same again, in the name of whoever decided; it is carried out once its entry is processed and its site stands still
//! no more, like any request.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::down::{Fate, HUB_AUTHOR, Receipt, Resolved};
use waystation_protocol::time::Timestamp;

use crate::apply::reason;
use crate::store::{StoreError, int};

/// The trail's word for what a person decided.
fn action(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Fixed => Some("fix"),
        Fate::Replayed => Some("replay"),
        Fate::Waived => Some("waive"),
        Fate::Quarantined | Fate::Parked | Fate::Released => None,
    }
}

/// Who decided about the entry at this place, by its row, where a person did.
pub(crate) fn resolved(
    conn: &Connection,
    (stream, seq): (i64, Seq),
    fate: Fate,
) -> Result<Option<Resolved>, StoreError> {
    let Some(action) = action(fate) else { return Ok(None) };
    let sql = "SELECT who, why FROM resolution WHERE stream = ?1 AND seq = ?2 AND action = ?3 ORDER BY id DESC LIMIT 1";
    let resolved = |row: &rusqlite::Row<'_>| Ok(Resolved { by: row.get(0)?, why: row.get(1)? });
    Ok(conn.prepare_cached(sql)?.query_row(params![stream, int(seq), action], resolved).optional()?)
}

/// A receipt that an agent brought back. Its journal may not be here yet: then its row in the trail waits for that.
pub(super) fn learn(conn: &Connection, receipt: &Receipt, at: Timestamp) -> Result<(), StoreError> {
    // what was kept aside of a journal has another place here than its receipt names: a person decides anew
    let Some(action) = action(receipt.fate).filter(|_| receipt.code != reason::BRANCH) else { return Ok(()) };
    let (by, why) = receipt.resolved.as_ref().map_or((HUB_AUTHOR, ""), |known| (&*known.by, &*known.why));
    let sql = "INSERT OR IGNORE INTO resolution_due (stream, seq, action, at, entry, document, act, fields, who, why,
               before_code, before_reason, before_zh)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    conn.prepare_cached(sql)?.execute(params![
        receipt.stream.as_bytes(),
        int(receipt.seq),
        action,
        at.0,
        receipt.entry.as_ref().map(|entry| entry.as_bytes()),
        receipt.document.as_ref().map(|document| document.as_bytes()),
        receipt.amended.as_ref().map(|amended| &amended.act),
        receipt.amended.as_ref().map(|amended| codec::encode(&amended.set)),
        by,
        why,
        receipt.code,
        receipt.en,
        receipt.zh
    ])?;
    Ok(())
}
