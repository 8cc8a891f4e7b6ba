//! Pruning: entries the hub may never need again are deleted from the journal's beginning.
//!
//! What is deleted was stored and processed by the hub, lies below its prunable mark, and stands in a cached document,
//! which from then on is the truth for it. The mark below which all is deleted is kept with its hash.

use std::collections::BTreeSet;

use redb::{Database, ReadTransaction, ReadableTable, WriteTransaction};

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::plant::{Plant, is_planted};

use super::cache;
use super::error::StoreError;
use super::journal::Progress;
use super::kept;
use super::sealed;
use super::tables::{JOURNAL, KEPT, META};

/// Most entries deleted in one commit: it takes a few milliseconds, so callers hardly wait for it.
const COMMIT_ENTRIES: u64 = 1_024;
/// The file is compacted once this part of it, in percent, was deleted from …
const COMPACT_PERCENT: u64 = 10;
/// … but not for less than this, since compacting moves what stays …
const COMPACT_BYTES: u64 = 8 << 20;
/// … unless the disk is short of room.
const COMPACT_BYTES_SHORT: u64 = 256 << 10;

pub(super) const PRUNED: &str = "pruned";

/// The mark up to which entries are deleted, and the bytes there were up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pruned {
    pub(super) mark: Mark,
    pub(super) total: u64,
}

impl Pruned {
    pub(super) const NONE: Pruned = Pruned { mark: Mark::ZERO, total: 0 };

    /// Reads it from the disk.
    pub(super) fn load(read: &ReadTransaction) -> Result<Pruned, StoreError> {
        let seq = match read.open_table(META)?.get(PRUNED)? {
            None => return Ok(Pruned::NONE),
            Some(bytes) => bytes.value().try_into().map(|bytes| Seq(u64::from_be_bytes(bytes))),
        };
        let damaged = || StoreError::Damaged("the pruned mark".to_owned());
        let seq = seq.map_err(|_| damaged())?;
        let known = kept::known_in(read, seq)?.ok_or_else(damaged)?;
        Ok(Pruned { mark: Mark { seq, hash: known.hash }, total: known.total })
    }
}

/// Up to where entries may be deleted now, in one commit; none where there is nothing to delete.
pub(super) fn limit(database: &Database, progress: &Progress) -> Result<Option<Seq>, StoreError> {
    let allowed = progress.prunable();
    let pruned = progress.pruned.mark.seq;
    if allowed <= pruned {
        return Ok(None);
    }
    let limit = allowed.min(cache::watermark(database)?.unwrap_or(Seq(0))).min(pruned.plus(COMMIT_ENTRIES));
    Ok((limit > pruned).then_some(limit))
}

/// Deletes entries up to `limit`, after keeping its mark, and gives the pruned mark.
pub(super) fn delete(write: &WriteTransaction, database: &Database, limit: Seq) -> Result<Pruned, StoreError> {
    let known = kept::known_at(database, limit)?;
    let known = known.ok_or_else(|| StoreError::Damaged(format!("the journal lacks entry {limit}")))?;
    kept::keep(write, &BTreeSet::from([limit]))?;
    if is_planted(Plant::ForgetKeptMarks) {
        write.open_table(KEPT)?.retain(|seq, _| seq == limit.0)?;
    }
    put(write, limit)?;
    write.open_table(JOURNAL)?.retain_in(..=limit.0, |_, _| false)?;
    sealed::seal(write)?;
    Ok(Pruned { mark: Mark { seq: limit, hash: known.hash }, total: known.total })
}

/// Notes that entries up to `seq` are not here.
pub(super) fn put(write: &WriteTransaction, seq: Seq) -> Result<(), StoreError> {
    write.open_table(META)?.insert(PRUNED, seq.0.to_be_bytes().as_slice())?;
    Ok(())
}

/// Whether compacting a file of `file` bytes, of which `deleted` were deleted, pays.
pub(super) fn pays_to_compact(file: u64, deleted: u64, is_short: bool) -> bool {
    let least = if is_short { COMPACT_BYTES_SHORT } else { COMPACT_BYTES };
    deleted >= least && deleted >= file / 100 * COMPACT_PERCENT
}

/// Whether the journal begins where the pruned mark ends.
pub(super) fn check_beginning(read: &ReadTransaction, pruned: Pruned) -> Result<(), StoreError> {
    let first = read.open_table(JOURNAL)?.first()?.map(|(seq, _)| Seq(seq.value()));
    match first {
        Some(first) if first != pruned.mark.seq.next() => {
            Err(StoreError::Damaged(format!("the journal begins at {first} and not after {}", pruned.mark.seq)))
        }
        Some(_) | None => Ok(()),
    }
}
