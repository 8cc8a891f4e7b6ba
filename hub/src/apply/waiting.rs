//! Entries that were set aside: in quarantine until a person looks, or parked until something arrives.
//!
//! An index in memory over the open rows of quarantine. Later entries of the same document from the same journal wait
//! behind them; entries of other journals are judged by what they follow.

use std::collections::HashMap;

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};

use super::history::{ShortHash, short_hash};
use super::reason;
use crate::store::{StoreError, seq_at};

/// One entry set aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetAside {
    pub(super) stream: i64,
    pub(super) seq: Seq,
    pub(super) entry: EntryId,
    pub(super) after: Option<EntryId>,
    pub(super) cause: Option<EntryId>,
    pub(super) hash: ShortHash,
    pub(super) is_parked: bool,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_document: HashMap<DocId, Vec<SetAside>>,
    /// Entries set aside, counted because two may bear the same id.
    entries: HashMap<EntryId, u32>,
    by_cause: HashMap<EntryId, Vec<DocId>>,
}

impl Waiting {
    /// Reads the open rows, and gives also the documents that a newer build of ours may understand now.
    pub(super) fn load(conn: &Connection) -> Result<(Waiting, Vec<DocId>), StoreError> {
        let sql = "SELECT stream, seq, is_parked, code, entry FROM quarantine WHERE resolved_at IS NULL ORDER BY id";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let (mut waiting, mut worth_a_try) = (Waiting::default(), Vec::new());
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(4)?;
            let Ok(entry) = Entry::from_bytes(&bytes) else { continue };
            let (code, is_parked): (String, bool) = (row.get(3)?, row.get(2)?);
            if reason::may_pass_with_a_newer_build(&code) {
                worth_a_try.push(entry.document());
            }
            waiting.add(SetAside::new(row.get(0)?, seq_at(row, 1)?, &entry, short_hash(&bytes), is_parked), &entry);
        }
        Ok((waiting, worth_a_try))
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, item: SetAside, entry: &Entry) {
        self.by_document.entry(entry.document()).or_default().push(item);
        *self.entries.entry(item.entry).or_default() += 1;
        if let Some(cause) = item.cause {
            self.by_cause.entry(cause).or_default().push(entry.document());
        }
    }

    /// Whether an entry of `stream` must wait behind an earlier one on its document.
    pub(super) fn is_behind(&self, document: DocId, stream: i64) -> bool {
        self.by_document.get(&document).is_some_and(|items| items.iter().any(|item| item.stream == stream))
    }

    /// Whether this entry id is set aside.
    pub(super) fn holds(&self, entry: EntryId) -> bool {
        self.entries.contains_key(&entry)
    }

    /// The hash under which an entry id is set aside on a document.
    pub(super) fn find(&self, document: DocId, entry: EntryId) -> Option<ShortHash> {
        let items = self.by_document.get(&document)?;
        items.iter().find(|item| item.entry == entry).map(|item| item.hash)
    }

    /// The first parked entry of a document that may be applied on `head`, except those in `tried`.
    pub(super) fn candidate(&self, document: DocId, head: Option<EntryId>, tried: &[(i64, Seq)]) -> Option<SetAside> {
        let items = self.by_document.get(&document)?;
        let mut seen: Vec<i64> = Vec::new();
        for item in items {
            let is_first_of_its_stream = !seen.contains(&item.stream);
            seen.push(item.stream);
            let fits = item.after.is_none() || item.after == head;
            let is_caused = item.cause.is_some_and(|cause| self.holds(cause));
            let is_new = !tried.contains(&(item.stream, item.seq));
            if item.is_parked && is_first_of_its_stream && fits && !is_caused && is_new {
                return Some(*item);
            }
        }
        None
    }

    /// Removes an entry that was applied, and gives the documents whose entries waited for it as their cause.
    pub(super) fn remove(&mut self, document: DocId, item: &SetAside) {
        if let Some(items) = self.by_document.get_mut(&document) {
            items.retain(|other| (other.stream, other.seq) != (item.stream, item.seq));
            if items.is_empty() {
                self.by_document.remove(&document);
            }
        }
        if let Some(count) = self.entries.get_mut(&item.entry) {
            *count -= 1;
            if *count == 0 {
                self.entries.remove(&item.entry);
            }
        }
    }

    /// The documents with entries that wait for `cause`.
    pub(super) fn take_caused(&mut self, cause: EntryId) -> Vec<DocId> {
        self.by_cause.remove(&cause).unwrap_or_default()
    }

    /// A parked entry turned out to need a person.
    pub(super) fn harden(&mut self, document: DocId, item: &SetAside) {
        let items = self.by_document.get_mut(&document).into_iter().flatten();
        for other in items.filter(|other| (other.stream, other.seq) == (item.stream, item.seq)) {
            other.is_parked = false;
        }
    }
}

impl SetAside {
    pub(super) fn new(stream: i64, seq: Seq, entry: &Entry, hash: ShortHash, is_parked: bool) -> SetAside {
        SetAside { stream, seq, entry: entry.id, after: entry.after, cause: entry.cause, hash, is_parked }
    }
}
