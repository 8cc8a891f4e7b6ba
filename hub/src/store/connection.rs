//! Connections to the database: how they are set up, brought to the newest schema, and lent to readers.
//!
//! One connection writes; readers share a small pool and see the last commit. A commit returns only after the
//! write-ahead log was synced.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::error::StoreError;

/// The database's name in the data folder.
pub(crate) const DATABASE: &str = "hub.sqlite";

/// Numbered files, applied in order; each raises the version by one.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_backup.sql"),
    include_str!("migrations/0003_quarantine.sql"),
    include_str!("migrations/0004_meeting.sql"),
    include_str!("migrations/0005_down.sql"),
    include_str!("migrations/0006_loop.sql"),
    include_str!("migrations/0007_told.sql"),
];

/// Idle readers kept; more are opened under load and closed again.
const IDLE_READERS: usize = 4;

/// Pages of 8 KiB in the write-ahead log before a checkpoint: 64 MiB, so that a drain rarely waits for one.
const CHECKPOINT_PAGES: u32 = 8_192;

/// Another process (`site add` beside a running hub) may hold the write lock this long.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// Statements kept prepared per connection: every statement of ours, facts and roll-ups once per measure.
const STATEMENTS: usize = 256;

/// The writing connection, at the newest schema.
pub(crate) fn open_writer(dir: &Path) -> Result<Connection, StoreError> {
    let mut conn = Connection::open(dir.join(DATABASE))?;
    conn.busy_timeout(BUSY)?;
    keep_statements(&conn)?;
    conn.execute_batch(&format!(
        "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}; PRAGMA journal_size_limit = 134217728;
         PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY;"
    ))?;
    migrate(&mut conn)?;
    Ok(conn)
}

/// A connection that only reads.
pub(crate) fn open_reader(dir: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(dir.join(DATABASE), flags)?;
    conn.busy_timeout(BUSY)?;
    keep_statements(&conn)?;
    conn.execute_batch("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;")?;
    Ok(conn)
}

/// Statements stay prepared whatever is bound to them. Otherwise each that touches a partial index is prepared anew at
/// every call, in case the value lets that index be used; ours name such conditions in their text.
fn keep_statements(conn: &Connection) -> Result<(), StoreError> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", index as i64 + 1)?;
        tracing::info!(version = index + 1, "database schema raised");
    }
    tx.commit()?;
    Ok(())
}

/// A value of `meta`, written from `fresh` where there is none yet.
pub(crate) fn meta(conn: &Connection, name: &str, fresh: &[u8]) -> Result<Vec<u8>, StoreError> {
    let read = "SELECT value FROM meta WHERE name = ?1";
    let found: Option<Vec<u8>> = conn.query_row(read, [name], |row| row.get(0)).optional()?;
    if let Some(value) = found {
        return Ok(value);
    }
    conn.execute("INSERT INTO meta (name, value) VALUES (?1, ?2)", rusqlite::params![name, fresh])?;
    Ok(fresh.to_vec())
}

/// Readers, lent and given back.
#[derive(Debug)]
pub(crate) struct Pool {
    dir: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// A reader on loan.
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    conn: Option<Connection>,
}

impl Pool {
    pub(crate) fn new(dir: &Path) -> Pool {
        Pool { dir: dir.to_owned(), idle: Mutex::new(Vec::new()) }
    }

    pub(crate) fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_reader(&self.dir)?,
        };
        Ok(Lent { pool: self, conn: Some(conn) })
    }
}

impl Deref for Lent<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.conn.as_ref().expect("only drop takes the connection")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.extend(self.conn.take());
        }
    }
}
