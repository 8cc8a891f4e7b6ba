//! Checked backups as the books know them: they bound what agents may delete.

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::chain::Seq;
use waystation_protocol::id::StreamId;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::{Store, StoreError, count, int, life, restore, seq_at};

/// What decides, besides backups, when agents may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long agents keep what is processed, in milliseconds by the hub's clock.
    pub ms: i64,
    /// Whether agents keep everything until a first backup was made.
    pub needs_backup: bool,
}

/// A backup that was opened and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedBackup {
    /// The database's time in it.
    pub taken_at: Timestamp,
    /// When its check ended.
    pub checked_at: Timestamp,
    /// Its folder.
    pub folder: String,
    /// The epoch it was taken in.
    pub epoch: u64,
    /// Entries in it.
    pub entries: u64,
    /// Size of its database in bytes.
    pub bytes: u64,
    /// How far each journal goes in it, downward ones too.
    pub streams: Vec<(StreamId, Seq)>,
}

impl Store {
    /// Tells the books of a checked backup: from here on agents may delete what it covers.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherEpoch`] if the hub came back older since it was taken, or the database fails.
    pub fn add_backup(&self, backup: CheckedBackup) -> Result<(), StoreError> {
        self.command(Box::new(move |conn| add(conn, &backup)))
    }
}

/// The same within a transaction. An older backup than one known already is only listed.
pub(crate) fn add(conn: &Connection, backup: &CheckedBackup) -> Result<(), StoreError> {
    let own = life::own(conn)?.epoch.unwrap_or(1);
    if own != backup.epoch {
        return Err(StoreError::OtherEpoch { backup: backup.epoch, own });
    }
    let newest: Option<i64> = conn.query_row("SELECT max(taken_at) FROM backup", [], |row| row.get(0))?;
    let sql = "INSERT INTO backup (taken_at, checked_at, folder, entries, bytes) VALUES (?1, ?2, ?3, ?4, ?5)";
    let (entries, bytes) = (count(backup.entries), count(backup.bytes));
    conn.execute(sql, params![backup.taken_at.0, backup.checked_at.0, backup.folder, entries, bytes])?;
    if newest.is_none_or(|newest| newest <= backup.taken_at.0) {
        conn.execute("UPDATE stream SET backed_up_seq = 0", [])?;
        conn.execute("UPDATE down_stream SET backed_up_seq = 0", [])?;
        let mut up = conn.prepare("UPDATE stream SET backed_up_seq = ?2 WHERE stream = ?1")?;
        let mut down = conn.prepare("UPDATE down_stream SET backed_up_seq = ?2 WHERE stream = ?1")?;
        for (stream, stored) in &backup.streams {
            let row = params![stream.as_bytes(), int(*stored)];
            if up.execute(row)? == 0 {
                down.execute(row)?;
            }
        }
    }
    Ok(())
}

/// The books came out of a backup without the tool: they know neither that one nor any later one, so nothing becomes
/// prunable before the next, unless they know an earlier one.
pub(crate) fn forget(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO backup (taken_at, checked_at, folder, entries, bytes)
               SELECT 0, ?1, 'unknown', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM backup)";
    conn.execute(sql, [now.0])?;
    Ok(())
}

/// The highest seq of a stream that may become prunable at all; what is older than the retention period decides below it.
pub(crate) fn ceiling(conn: &Connection, stream: i64, retention: Retention) -> Result<Seq, StoreError> {
    let sql = "SELECT backed_up_seq FROM stream WHERE id = ?1";
    ceiling_of_backups(conn, retention, conn.prepare_cached(sql)?.query_row([stream], |row| seq_at(row, 0))?)
}

/// The same for a journal of which the newest backup holds `backed_up`.
pub(crate) fn ceiling_of_backups(conn: &Connection, retention: Retention, backed_up: Seq) -> Result<Seq, StoreError> {
    if restore::is_open(conn)? && !is_planted(Plant::PruneInRestore) {
        return Ok(Seq(0));
    }
    let sql = "SELECT 1 FROM backup LIMIT 1";
    let is_backed_up = conn.prepare_cached(sql)?.query_row([], |_| Ok(())).optional()?.is_some();
    let is_backed_up = is_backed_up && !is_planted(Plant::PruneNotBackedUp);
    Ok(match (is_backed_up, retention.needs_backup) {
        (true, _) => backed_up,
        (false, true) => Seq(0),
        (false, false) => Seq(u64::MAX),
    })
}
