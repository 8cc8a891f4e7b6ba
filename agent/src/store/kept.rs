//! Kept marks: hashes that outlive their entries, so that a hub of any age is met on common ground.
//!
//! Kept are the pruned mark, every acknowledged mark, and every end of a batch that was sent: the hub may have stored up
//! to any of these, whether or not its acknowledgement arrived, and may come back from a backup made there. The marks of the last
//! seconds before a crash may be gone; those that the hub's next WELCOME shows are kept in their stead.

use std::collections::BTreeSet;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableError, WriteTransaction};

use waystation_protocol::chain::{Hash, Mark, Seq};

use super::error::StoreError;
use super::tables::{JOURNAL, KEPT, Row, kept_row, parse_kept};

/// What is known of a mark by its seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) hash: Hash,
    /// Bytes of all entries up to it.
    pub(super) total: u64,
}

/// What the journal or the kept marks know of `seq`.
pub(super) fn known_at(database: &Database, seq: Seq) -> Result<Option<Known>, StoreError> {
    known_in(&database.begin_read()?, seq)
}

/// As [`known_at`], as of one moment.
pub(super) fn known_in(read: &ReadTransaction, seq: Seq) -> Result<Option<Known>, StoreError> {
    if seq == Seq(0) {
        return Ok(Some(Known { hash: Hash::ZERO, total: 0 }));
    }
    if let Some(row) = read.open_table(JOURNAL)?.get(seq.0)? {
        let row = Row::parse(seq, row.value())?;
        return Ok(Some(Known { hash: row.hash, total: row.total }));
    }
    let kept = match read.open_table(KEPT) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        kept => kept?,
    };
    let Some(row) = kept.get(seq.0)? else { return Ok(None) };
    let (hash, total) = parse_kept(seq, row.value())?;
    Ok(Some(Known { hash, total }))
}

/// Keeps the marks at `ends`, as far as the journal has them.
pub(super) fn keep(write: &WriteTransaction, ends: &BTreeSet<Seq>) -> Result<(), StoreError> {
    if ends.is_empty() {
        return Ok(());
    }
    let journal = write.open_table(JOURNAL)?;
    let mut kept = write.open_table(KEPT)?;
    for seq in ends {
        if let Some(row) = journal.get(seq.0)? {
            let row = Row::parse(*seq, row.value())?;
            kept.insert(seq.0, &kept_row(Mark { seq: *seq, hash: row.hash }, row.total))?;
        }
    }
    Ok(())
}
