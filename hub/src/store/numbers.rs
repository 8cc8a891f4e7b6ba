//! The counters of the numbers that the hub prints, leased in blocks.
//!
//! A lease is in `hub.numbers` beside the database before any number of it is given out, and whatever a lease still held
//! is passed over at the next start. So no number is printed twice, be the database put back to any moment.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use waystation_protocol::number::{Series, Tag};

use super::letters::HUBS;
use super::{StoreError, beside, count};

/// The file's name in the data folder.
const NAME: &str = "hub.numbers";

/// Numbers per lease. A start leaves a gap of fewer; a lease costs one small file.
const BLOCK: u64 = 16;

/// What stands in the hub's numbers in the place of an agent's letter.
pub(crate) const TAG: Tag = Tag::Letter(HUBS);

/// The counters that one act uses, kept once all of it is captured.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The next of each series.
    next: BTreeMap<Series, u64>,
}

impl Counters {
    /// The series' next number. It stays the next until it is taken.
    pub(crate) fn peek(&mut self, conn: &Connection, series: &Series) -> Result<u64, StoreError> {
        if let Some(next) = self.next.get(series) {
            return Ok(*next);
        }
        let sql = "SELECT next FROM number_lease WHERE series = ?1";
        let next = conn.prepare_cached(sql)?.query_row([series.as_str()], |row| row.get(0)).optional()?;
        Ok(next.map_or(1, |next: i64| next.max(1).unsigned_abs()))
    }

    /// Uses up a series' next number, which is `counter`.
    pub(crate) fn take(&mut self, series: Series, counter: u64) {
        self.next.insert(series, counter + 1);
    }

    /// Keeps what was taken, within the caller's transaction; leases that do not reach so far are on the disk first.
    pub(crate) fn save(&self, conn: &Connection, dir: &Path) -> Result<(), StoreError> {
        let mut is_leased = true;
        for (series, next) in &self.next {
            let sql = "INSERT INTO number_lease (series, next, lease_end) VALUES (?1, ?2, 0)
                       ON CONFLICT (series) DO UPDATE SET next = excluded.next";
            conn.prepare_cached(sql)?.execute(params![series.as_str(), count(*next)])?;
            let sql = "UPDATE number_lease SET lease_end = next + ?2 WHERE series = ?1 AND next > lease_end";
            is_leased &= conn.prepare_cached(sql)?.execute(params![series.as_str(), count(BLOCK)])? == 0;
        }
        if is_leased { Ok(()) } else { write(conn, dir) }
    }
}

fn write(conn: &Connection, dir: &Path) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached("SELECT series, lease_end FROM number_lease")?;
    let leases = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    beside::write(dir, NAME, &leases.collect::<Result<BTreeMap<String, i64>, _>>()?)
}

/// At the start: takes the leases of the file into the books, and passes over what every lease still held.
pub(crate) fn recall(conn: &Connection, dir: &Path) -> Result<(), StoreError> {
    let leases = beside::load::<BTreeMap<String, i64>>(dir, NAME, "a restored hub may print a number twice");
    let sql = "INSERT INTO number_lease (series, next, lease_end) VALUES (?1, ?2, ?2)
               ON CONFLICT (series) DO UPDATE SET lease_end = max(lease_end, excluded.lease_end)";
    for (series, end) in leases.unwrap_or_default() {
        conn.prepare_cached(sql)?.execute(params![series, end])?;
    }
    conn.execute("UPDATE number_lease SET next = max(next, lease_end)", [])?;
    Ok(())
}
