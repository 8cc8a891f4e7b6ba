//! What became of entries set aside, as receipts carry it down and agents bring it back.
//!
//! A hub that came back older has forgotten who fixed, replayed or waived what. Each receipt that is brought back asks for
//! the same again, in the name of whoever decided; it is carried out once its entry is processed and its site stands still
//! no more, like any request. And it may judge otherwise now, since more has arrived: what the agent was told to leave
//! out, and is applied as captured after all, it is told to let in again.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::codec;
use waystation_protocol::down::{Fate, HUB_AUTHOR, Receipt, Resolved};
use waystation_protocol::id::StreamId;
use waystation_protocol::time::Timestamp;

use super::journal;
use super::relay::{self, Relayed};
use crate::apply::history::{self, Record};
use crate::apply::reason;
use crate::store::{StoreError, array_at, int, seq_at};

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

/// A receipt of this time that an agent brought back. The journal it speaks of may not be here yet: then its row in the trail waits for that.
pub(super) fn learn(
    conn: &Connection,
    agent: i64,
    receipt: &Receipt,
    (at, now): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    // what was kept aside of a journal has another place here than its receipt names: a person decides anew
    if receipt.code == reason::BRANCH {
        return Ok(());
    }
    learn_fate(conn, agent, receipt, now)?;
    let Some(action) = action(receipt.fate) else { return Ok(()) };
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

/// Remembers what the agent takes the entry for. The last receipt counts.
fn learn_fate(conn: &Connection, agent: i64, receipt: &Receipt, now: Timestamp) -> Result<(), StoreError> {
    let (Some(document), Some(entry)) = (receipt.document, receipt.entry) else { return Ok(()) };
    if matches!(receipt.fate, Fate::Released | Fate::Replayed) {
        let sql = "DELETE FROM receipt_back WHERE document = ?1 AND entry = ?2 AND agent = ?3";
        conn.prepare_cached(sql)?.execute(params![document.as_bytes(), entry.as_bytes(), agent])?;
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO receipt_back (document, entry, agent, stream, seq, code, en, zh)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (stream, seq, Receipt { code, en, zh, .. }) = (receipt.stream, int(receipt.seq), receipt);
    let row = params![document.as_bytes(), entry.as_bytes(), agent, stream.as_bytes(), seq, code, en, zh];
    conn.prepare_cached(sql)?.execute(row)?;
    // where its site was released by a person, it may be applied already
    let sql = "SELECT history FROM document WHERE id = ?1";
    let history: Option<Vec<u8>> =
        conn.prepare_cached(sql)?.query_row([document.as_bytes()], |row| row.get(0)).optional()?;
    let records = history.map(|history| history::read(&history)).unwrap_or_default();
    let Some(Record { stream, seq, .. }) = records.into_iter().find(|record| record.entry == entry) else {
        return Ok(());
    };
    let_in(conn, &Relayed { document, entry, stream, seq }, now)
}

/// Whether agents brought back anything that [`let_in`] would look for.
pub(crate) fn is_any_back(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM receipt_back)")?.query_row([], |row| row.get(0))?)
}

/// Tells whoever takes an applied entry for another than the captured one. If it was set aside here too, the receipts of that say
/// what it is.
pub(crate) fn let_in(conn: &Connection, applied: &Relayed, now: Timestamp) -> Result<(), StoreError> {
    let (document, entry) = (applied.document, applied.entry);
    let key = params![document.as_bytes(), entry.as_bytes()];
    let sql = "SELECT agent, stream, seq, code, en, zh FROM receipt_back WHERE document = ?1 AND entry = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let back = statement.query_map(key, |row| {
        let receipt = Receipt {
            entry: Some(entry),
            document: Some(document),
            stream: StreamId::from_bytes(array_at(row, 1)?),
            seq: seq_at(row, 2)?,
            fate: Fate::Released,
            code: row.get(3)?,
            en: row.get(4)?,
            zh: row.get(5)?,
            amended: None,
            resolved: None,
        };
        Ok((row.get::<_, i64>(0)?, receipt))
    })?;
    let back: Vec<_> = back.collect::<Result<_, _>>()?;
    conn.prepare_cached("DELETE FROM receipt_back WHERE document = ?1 AND entry = ?2")?.execute(key)?;
    let sql = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE stream = ?1 AND seq = ?2)";
    let place = params![applied.stream, int(applied.seq)];
    if conn.prepare_cached(sql)?.query_row(place, |row| row.get(0))? {
        return Ok(());
    }
    back.iter().try_for_each(|(agent, receipt)| journal::tell(conn, *agent, &relay::sealed(receipt, now), now))
}
