//! Counters of printed numbers, leased in blocks so that most captures write nothing for them.
//!
//! A counter is given out only once its lease is written, at the latest in the commit that uses it, and never twice:
//! what a lease still held when the process ended is lost, which leaves gaps.

use std::collections::HashMap;

use redb::WriteTransaction;

use waystation_protocol::number::Series;
use waystation_protocol::plant::{Plant, is_planted};

use super::cache::Snapshot;
use super::error::StoreError;
use super::tables::COUNTERS;

/// Counters per lease.
pub(super) const BLOCK: u64 = 64;

/// The leases of this process.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_series: HashMap<Series, Lease>,
}

#[derive(Debug)]
struct Lease {
    next: u64,
    end: u64,
    is_saved: bool,
}

impl Leases {
    /// The counter the series gives next. It stays the next until it is taken.
    pub(super) fn peek(&mut self, series: &Series, snapshot: &Snapshot) -> Result<u64, StoreError> {
        if !self.by_series.contains_key(series) {
            let next = snapshot.counter(series.as_str())?.unwrap_or(1);
            self.by_series.insert(series.clone(), Lease { next, end: next, is_saved: true });
        }
        let lease = self.by_series.get_mut(series).expect("it was inserted where it was missing");
        if lease.next == lease.end {
            lease.end += BLOCK;
            lease.is_saved = false;
        }
        Ok(lease.next)
    }

    /// Uses up the series' next counter.
    pub(super) fn take(&mut self, series: &Series) {
        if let Some(lease) = self.by_series.get_mut(series) {
            assert!(lease.next < lease.end, "a counter is peeked at before it is taken");
            lease.next += 1;
        }
    }

    /// Writes the leases that are not yet. They count as written only after [`Leases::handle_saved`].
    pub(super) fn save(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        if is_planted(Plant::LeaseNotSaved) {
            return Ok(());
        }
        let unsaved = self.by_series.iter().filter(|(_, lease)| !lease.is_saved);
        let mut table = None;
        for (series, lease) in unsaved {
            if table.is_none() {
                table = Some(write.open_table(COUNTERS)?);
            }
            if let Some(table) = &mut table {
                table.insert(series.as_str(), lease.end)?;
            }
        }
        Ok(())
    }

    /// The commit that [`Leases::save`] wrote to is durable.
    pub(super) fn handle_saved(&mut self) {
        self.by_series.values_mut().for_each(|lease| lease.is_saved = true);
    }

    /// A commit failed: what is leased is read from the disk again.
    pub(super) fn forget(&mut self) {
        self.by_series.clear();
    }
}
