//! The journal as sync reads it: marks, batches, what is still unsent.
//!
//! The journal begins after the pruned mark. Batches are read in one pass and the chain is recomputed on the way:
//! damaged bytes are noticed here and never sent.

use std::collections::BTreeSet;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};

use waystation_protocol::batch;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::codec;
use waystation_protocol::entry::Entry;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::time::Timestamp;

use super::error::StoreError;
use super::kept::{self, Known};
use super::prune::{self, Pruned};
use super::tables::{JOURNAL, META, Row, follow};

const PROGRESS: &str = "progress";
const PROOF: &str = "proof";

/// What [`super::Store::fill_batch`] put into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// The chain's hash before the first entry.
    pub prev_hash: Hash,
    /// The last entry taken; the seq before the first where the builder took none.
    pub last: Seq,
}

/// What the hub has not confirmed to have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many entries.
    pub entries: u64,
    /// Their bytes, uncompressed.
    pub bytes: u64,
    /// When the oldest of them was recorded.
    pub oldest_at: Option<Timestamp>,
}

/// What the hub said it has, kept across restarts. Losing the latest costs nothing: a WELCOME says it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confirmed {
    pub(super) stored: Mark,
    pub(super) processed: Seq,
    pub(super) prunable: Seq,
}

/// How far everything goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) head: Mark,
    pub(super) head_total: u64,
    pub(super) pruned: Pruned,
    pub(super) confirmed: Confirmed,
    pub(super) stored_total: u64,
    pub(super) oldest_at: Option<Timestamp>,
    /// Whether `confirmed` is newer than what the disk has.
    pub(super) is_unsaved: bool,
}

impl Confirmed {
    const NONE: Confirmed = Confirmed { stored: Mark::ZERO, processed: Seq(0), prunable: Seq(0) };
}

impl Progress {
    pub(super) const EMPTY: Progress = Progress {
        head: Mark::ZERO,
        head_total: 0,
        pruned: Pruned::NONE,
        confirmed: Confirmed::NONE,
        stored_total: 0,
        oldest_at: None,
        is_unsaved: false,
    };

    /// Reads it from the disk. A stored mark that this journal does not have is forgotten.
    pub(super) fn load(database: &Database) -> Result<Progress, StoreError> {
        let read = database.begin_read()?;
        let pruned = Pruned::load(&read)?;
        prune::check_beginning(&read, pruned)?;
        let mut progress = Progress { head: pruned.mark, head_total: pruned.total, pruned, ..Progress::EMPTY };
        if let Some((seq, row)) = read.open_table(JOURNAL)?.last()? {
            let seq = Seq(seq.value());
            let row = Row::parse(seq, row.value())?;
            progress.head = Mark { seq, hash: row.hash };
            progress.head_total = row.total;
        }
        let meta = read.open_table(META)?;
        let saved = meta.get(PROGRESS)?.and_then(|bytes| codec::decode_own::<Confirmed>(bytes.value()).ok());
        if let Some(saved) = saved {
            match total_at(database, saved.stored)? {
                Some(total) => (progress.confirmed, progress.stored_total) = (saved, total),
                None => tracing::warn!(seq = saved.stored.seq.0, "the journal lacks what the hub was known to have"),
            }
        }
        progress.oldest_at = recorded_at(database, progress.unconfirmed_from())?;
        Ok(progress)
    }

    /// Writes the hub's marks with the frame that proves them, and keeps those at `ends`.
    pub(super) fn save(
        &self,
        write: &redb::WriteTransaction,
        proof: &[u8],
        ends: &BTreeSet<Seq>,
    ) -> Result<(), StoreError> {
        let mut meta = write.open_table(META)?;
        meta.insert(PROGRESS, codec::encode(&self.confirmed).as_slice())?;
        meta.insert(PROOF, proof)?;
        drop(meta);
        kept::keep(write, ends)
    }

    /// The first entry that is here and not confirmed. A hub that came back older may hold less than was pruned.
    pub(super) fn unconfirmed_from(&self) -> Seq {
        self.confirmed.stored.seq.max(self.pruned.mark.seq).next()
    }

    /// Up to where the hub lets entries go: stored and processed there, below its prunable mark.
    pub(super) fn prunable(&self) -> Seq {
        if is_planted(Plant::PruneUnstored) {
            return self.head.seq;
        }
        let word = if is_planted(Plant::PruneUnasked) { Seq(u64::MAX) } else { self.confirmed.prunable };
        word.min(self.confirmed.stored.seq).min(self.confirmed.processed)
    }

    /// Up to where the hub has decided on entries and told all about them: it lets none go before.
    pub(super) fn decided(&self) -> Seq {
        self.prunable().max(self.pruned.mark.seq)
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            entries: self.head.seq.next().0 - self.unconfirmed_from().0,
            bytes: self.head_total - self.stored_total.max(self.pruned.total),
            oldest_at: self.oldest_at,
        }
    }
}

/// The hub's frame that said how far it has stored; empty where none was kept.
pub(super) fn proof(database: &Database) -> Result<Vec<u8>, StoreError> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(PROOF)?.map(|proof| proof.value().to_vec()).unwrap_or_default())
}

/// The chain's hash at `seq`, where the journal or a kept mark has it.
pub(super) fn hash_at(database: &Database, seq: Seq) -> Result<Option<Hash>, StoreError> {
    Ok(kept::known_at(database, seq)?.map(|known| known.hash))
}

/// The bytes of all entries up to a mark; none if this journal never had it, or has forgotten it.
pub(super) fn total_at(database: &Database, mark: Mark) -> Result<Option<u64>, StoreError> {
    let known = kept::known_at(database, mark.seq)?;
    Ok(known.and_then(|Known { hash, total }| (hash == mark.hash).then_some(total)))
}

/// When the entry at `seq` was recorded.
pub(super) fn recorded_at(database: &Database, seq: Seq) -> Result<Option<Timestamp>, StoreError> {
    Ok(entry_at(database, seq)?.map(|entry| entry.occurred_at))
}

/// The entry at `seq`.
fn entry_at(database: &Database, seq: Seq) -> Result<Option<Entry>, StoreError> {
    entry_in(&database.begin_read()?, seq)
}

/// The entries at `seqs`, but for those that are pruned.
pub(super) fn entries_at(database: &Database, seqs: &[Seq]) -> Result<Vec<(Seq, Entry)>, StoreError> {
    let read = database.begin_read()?;
    let pruned = Pruned::load(&read)?.mark.seq;
    let here = seqs.iter().filter(|seq| **seq > pruned);
    here.map(|seq| Ok((*seq, entry_in(&read, *seq)?.ok_or_else(|| lacks(*seq))?))).collect()
}

/// The entry at `seq`, if its bytes are what the chain says.
pub(super) fn entry_in(read: &ReadTransaction, seq: Seq) -> Result<Option<Entry>, StoreError> {
    let journal = read.open_table(JOURNAL)?;
    let Some(row) = journal.get(seq.0)? else { return Ok(None) };
    let row = Row::parse(seq, row.value())?;
    let before = Seq(seq.0.saturating_sub(1));
    let known = kept::known_in(read, before)?.ok_or_else(|| lacks(before))?;
    follow(Mark { seq: before, hash: known.hash }, &row)?;
    decode(seq, row.entry).map(Some)
}

fn lacks(seq: Seq) -> StoreError {
    StoreError::Damaged(format!("the journal lacks entry {seq}"))
}

pub(super) fn decode(seq: Seq, bytes: &[u8]) -> Result<Entry, StoreError> {
    codec::decode_own(bytes).map_err(|error| StoreError::Damaged(format!("journal entry {seq}: {error}")))
}

/// Puts entries of `range` into `builder` until it is full or the journal ends.
pub(super) fn fill_batch(
    database: &Database,
    range: SeqRange,
    builder: &mut batch::Builder,
) -> Result<Filled, StoreError> {
    let read = database.begin_read()?;
    let before = Seq(range.first.0.saturating_sub(1));
    let prev_hash = kept::known_in(&read, before)?.ok_or_else(|| lacks(before))?.hash;
    if range.first <= Pruned::load(&read)?.mark.seq {
        return Err(lacks(range.first));
    }
    let journal = read.open_table(JOURNAL)?;
    let rows = journal.range(before.next().0..=range.last.0)?;
    let mut mark = Mark { seq: before, hash: prev_hash };
    for row in rows {
        let (seq, row) = row?;
        if seq.value() != mark.seq.next().0 {
            return Err(lacks(mark.seq.next()));
        }
        let row = Row::parse(mark.seq.next(), row.value())?;
        let next = follow(mark, &row)?;
        if !builder.push(row.entry) {
            break;
        }
        mark = next;
    }
    Ok(Filled { prev_hash, last: mark.seq })
}
