//! Which hub this is, and whether its database is the one that was last run here.
//!
//! Database and `hub.epoch` carry the same stamp. Where they disagree, or `hub.heads` knows of more than the database
//! holds, or the database is a backup put in place by hand, the hub came back older: the epoch rises and a restore
//! begins. When in doubt it rises; that costs the agents one HELLO each.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::heads::{self, Head};
use super::restore::{self, Begin, Cause};
use super::{StoreError, backups, connection, count, letters, numbers, reach};
use crate::epoch::{self, Stamp};

/// Marks a database as the copy in a backup; the hub itself never carries it.
const COPY: &str = "copy_taken_at";

/// Which hub this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubIdentity {
    /// Its id.
    pub id: [u8; 16],
    /// Raised whenever it came back from an older copy.
    pub epoch: u64,
}

/// What a database says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) epoch: Option<u64>,
    pub(crate) turn: Option<u64>,
    /// When it was copied, where it is a backup's.
    pub(crate) copied_at: Option<Timestamp>,
}

/// Whose a database is, for somebody beside the running hub.
pub(crate) fn visit(conn: &Connection, fresh_id: &[u8; 16]) -> Result<HubIdentity, StoreError> {
    Ok(HubIdentity { id: hub_id(conn, fresh_id)?, epoch: own(conn)?.epoch.unwrap_or(1) })
}

/// Begins another turn with this database, and a restore where it is older than what was last run in `dir`.
pub(crate) fn wake(
    conn: &mut Connection,
    dir: &Path,
    fresh_id: &[u8; 16],
    now: Timestamp,
) -> Result<HubIdentity, StoreError> {
    let (file, known) = (epoch::read(dir)?, heads::load(dir));
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let own = own(&tx)?;
    let id = hub_id(&tx, fresh_id)?;
    let in_books = heads::gather(&tx)?;
    let older = why_older(own, file, &in_books, &known);
    let last = file.map_or(1, |file| file.epoch).max(own.epoch.unwrap_or(1));
    let turn = file.map_or(0, |file| file.turn).max(own.turn.unwrap_or(0)) + 1;
    let older = older.filter(|_| !is_planted(Plant::RestoreNotNoticed));
    let stamp = Stamp { epoch: last + u64::from(older.is_some()), turn };
    if let Some(detail) = &older {
        tracing::error!(detail, epoch = stamp.epoch, "this database came back older; prunable marks are frozen");
        let begun = Begin { epoch: stamp.epoch, at: now, cause: Cause::Copied, detail, backup: None };
        restore::begin(&tx, &begun, &heads::union(in_books, known))?;
    }
    if own.copied_at.is_some() {
        backups::forget(&tx, now)?;
    }
    letters::recall(&tx, dir)?;
    numbers::recall(&tx, dir)?;
    reach::recall(&tx, dir)?;
    put(&tx, stamp)?;
    tx.commit()?;
    if older.is_some() {
        // the books know it now; the file must not tell of it again at the next start
        heads::write(dir, &heads::gather(conn)?)?;
    }
    letters::write(dir, &letters::all(conn)?)?;
    epoch::write(dir, stamp)?;
    Ok(HubIdentity { id, epoch: stamp.epoch })
}

/// Ends the turn: what was last run here is known to be this, and how far it went.
pub(crate) fn rest(conn: &Connection, dir: &Path) -> Result<Stamp, StoreError> {
    let own = own(conn)?;
    let stamp = Stamp { epoch: own.epoch.unwrap_or(1), turn: own.turn.unwrap_or(0) + 1 };
    put(conn, stamp)?;
    heads::write(dir, &heads::gather(conn)?)?;
    Ok(stamp)
}

/// Why the database is older than what was last run here; none if it is not.
fn why_older(own: Own, file: Option<Stamp>, in_books: &[Head], known: &[Head]) -> Option<String> {
    if own.copied_at.is_some() {
        return Some("the database is a backup's, put in place without `restore`".to_owned());
    }
    let Some(file) = file else {
        // a database of a build without turns has none, and a fresh one neither
        return own.turn.map(|_| format!("{} is missing", epoch::NAME));
    };
    let Some(epoch) = own.epoch else {
        return Some("the database is gone".to_owned());
    };
    if epoch != file.epoch {
        return Some(format!("the database is of epoch {epoch}, last run here was epoch {}", file.epoch));
    }
    let turn = own.turn.unwrap_or(0);
    if turn < file.turn || turn > file.turn + 1 {
        return Some(format!("the database is of turn {turn}, last run here was turn {}", file.turn));
    }
    let stored: BTreeMap<_, _> = in_books.iter().map(|own| (own.stream, own.stored.seq)).collect();
    let mut upward = known.iter().filter(|head| !head.is_down);
    let behind = upward.find(|head| stored.get(&head.stream).copied().unwrap_or_default() < head.stored.seq)?;
    Some(format!("journal {} was stored up to {} here", behind.stream, behind.stored.seq))
}

fn hub_id(conn: &Connection, fresh_id: &[u8; 16]) -> Result<[u8; 16], StoreError> {
    let id = connection::meta(conn, "hub_id", fresh_id)?;
    id.try_into().map_err(|_| StoreError::damaged("the hub's id is not 16 bytes"))
}

/// What a database says of itself.
pub(crate) fn own(conn: &Connection) -> Result<Own, StoreError> {
    let number = |name: &str| -> Result<Option<u64>, StoreError> {
        let sql = "SELECT value FROM meta WHERE name = ?1";
        let found: Option<Vec<u8>> = conn.query_row(sql, [name], |row| row.get(0)).optional()?;
        let Some(value) = found else { return Ok(None) };
        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| StoreError::damaged(format!("'{name}' of the database is no number")))
    };
    let copied_at = number(COPY)?.map(|ms| Timestamp(count(ms)));
    Ok(Own { epoch: number("hub_epoch")?, turn: number("hub_turn")?, copied_at })
}

/// Writes the stamp into a database, which is then no backup's copy any more.
pub(crate) fn put(conn: &Connection, stamp: Stamp) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    conn.execute(sql, rusqlite::params!["hub_epoch", stamp.epoch.to_string().into_bytes()])?;
    conn.execute(sql, rusqlite::params!["hub_turn", stamp.turn.to_string().into_bytes()])?;
    conn.execute("DELETE FROM meta WHERE name = ?1", [COPY])?;
    Ok(())
}

/// Marks a database as a backup's copy.
pub(crate) fn mark_copy(conn: &Connection, at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)";
    conn.execute(sql, rusqlite::params![COPY, at.0.max(0).to_string().into_bytes()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stamps written `epoch/turn`, `-` for none, `copy` after a database's that is a backup's.
    fn check(database: &str, file: &str, expected: Option<&str>) {
        let stamp = |text: &str| {
            let (epoch, turn) = text.split_once('/')?;
            Some(Stamp { epoch: epoch.parse().unwrap(), turn: turn.parse().unwrap() })
        };
        let (words, is_copy) = database.strip_suffix(" copy").map_or((database, false), |words| (words, true));
        let own = Own {
            epoch: stamp(words).map(|stamp| stamp.epoch),
            turn: stamp(words).map(|stamp| stamp.turn),
            copied_at: is_copy.then_some(Timestamp(1)),
        };
        assert_eq!(why_older(own, stamp(file), &[], &[]).as_deref(), expected, "{database}; {file}");
    }

    #[test]
    fn a_database_is_known_to_be_older_by_its_stamp() {
        check("-", "-", None);
        check("1/7", "1/7", None);
        check("1/8", "1/7", None);
        check("1/6", "1/7", Some("the database is of turn 6, last run here was turn 7"));
        check("1/9", "1/7", Some("the database is of turn 9, last run here was turn 7"));
        check("1/7", "2/7", Some("the database is of epoch 1, last run here was epoch 2"));
        check("1/7 copy", "1/7", Some("the database is a backup's, put in place without `restore`"));
        check("1/7", "-", Some("hub.epoch is missing"));
        check("-", "1/7", Some("the database is gone"));
    }
}
