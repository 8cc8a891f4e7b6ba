//! Entries that were set aside: in quarantine until a person looks, or parked until something arrives.
//!
//! An index in memory over the open rows of quarantine. Later entries of the same document from the same journal wait
//! behind them; entries of other journals are judged by what they follow. So are those of a journal that an agent
//! brought back to a hub that came back older: it heard them in any order, a decision before what that stands on.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::kind::header;
use waystation_protocol::site::SiteId;
use waystation_protocol::value::Value;

use super::history::{ShortHash, short_hash};
use super::reason;
use super::standing::Key;
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
    /// In the order of journals and places.
    by_document: HashMap<DocId, Vec<SetAside>>,
    /// Entries set aside, counted because two may bear the same id.
    entries: HashMap<EntryId, u32>,
    by_cause: HashMap<EntryId, Vec<DocId>>,
    /// The sites of documents whose opening is set aside, so that what waits behind it is found by site too.
    sites: HashMap<DocId, SiteId>,
    /// Entries of branches that no journal holds, by their bytes' digest: where they are kept.
    branches: HashMap<Key, (i64, Seq)>,
    /// Journals of what agents were told and brought back.
    told: HashSet<i64>,
    /// Entries that will never be applied, each with the waived one it rests on; a waived one rests on itself.
    lost: HashMap<EntryId, EntryId>,
}

/// Which parked entries to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    /// Those that follow the head or nothing.
    Fitting,
    /// All of which none of their journal stands in front: their reason may have changed.
    All,
}

impl Waiting {
    /// Reads the open rows. `waived`: entries people gave up. Gives also the places of entries that this build may
    /// understand and the one that set them aside did not.
    pub(super) fn load(
        conn: &Connection,
        waived: impl Iterator<Item = EntryId>,
    ) -> Result<(Waiting, Vec<(i64, Seq)>), StoreError> {
        let sql = "SELECT stream, seq, is_parked, code, entry FROM quarantine WHERE resolved_at IS NULL ORDER BY id";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let (mut waiting, mut worth_a_try) = (Waiting::default(), Vec::new());
        waiting.lost = waived.map(|entry| (entry, entry)).collect();
        let mut lost = Vec::new();
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(4)?;
            if row.get::<_, String>(3)? == reason::BRANCH {
                waiting.put_branch(digest(&bytes), (row.get(0)?, seq_at(row, 1)?));
                continue;
            }
            // bytes that this build can read may come from a newer one than set them aside
            let Ok(entry) = Entry::from_bytes(&bytes) else { continue };
            let (stream, seq, code, is_parked): (i64, Seq, String, bool) =
                (row.get(0)?, seq_at(row, 1)?, row.get(3)?, row.get(2)?);
            if code == reason::SAME_ID {
                continue;
            }
            if reason::may_pass_with_a_newer_build(&code) || code == reason::UNDECODABLE {
                worth_a_try.push((stream, seq));
            }
            if code == reason::RESTS_ON_WAIVED {
                lost.push((entry.document(), entry.id, entry.after, entry.cause));
            }
            waiting.put(SetAside::new(stream, seq, &entry, short_hash(&bytes), is_parked), &entry);
        }
        waiting.find_lost(lost);
        let mut told = conn.prepare("SELECT id FROM stream WHERE is_down = 1")?;
        waiting.told = told.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok((waiting, worth_a_try))
    }

    /// An entry of a branch is kept; the first of equal ones counts.
    pub(super) fn put_branch(&mut self, bytes: Key, place: (i64, Seq)) {
        self.branches.entry(bytes).or_insert(place);
    }

    /// Whether an entry with these bytes is kept as one of a branch.
    pub(super) fn is_branch(&self, bytes: &Key) -> bool {
        self.branches.contains_key(bytes)
    }

    /// Where these bytes are kept as an entry of a branch, from now on no more.
    pub(super) fn take_branch(&mut self, bytes: &[u8]) -> Option<(i64, Seq)> {
        // almost always nothing is kept, and every entry asks
        if self.branches.is_empty() { None } else { self.branches.remove(&digest(bytes)) }
    }

    /// Entries known to be lost name each other in any order.
    fn find_lost(&mut self, mut entries: Vec<(DocId, EntryId, Option<EntryId>, Option<EntryId>)>) {
        loop {
            let before = entries.len();
            entries.retain(|(document, entry, after, cause)| match self.rests_on(*document, *after, *cause) {
                Some(waived) => {
                    self.lost.insert(*entry, waived);
                    false
                }
                None => true,
            });
            if entries.len() == before {
                return;
            }
        }
    }

    /// Adds an entry, or changes what is known of it.
    pub(super) fn put(&mut self, item: SetAside, entry: &Entry) {
        let document = entry.document();
        if let (true, Some(site)) = (entry.is_opening(), named_site(entry)) {
            self.sites.insert(document, site);
        }
        let items = self.by_document.entry(document).or_default();
        let at = items.partition_point(|other| other.place() < item.place());
        if let Some(known) = items.get_mut(at).filter(|known| known.place() == item.place()) {
            known.is_parked = item.is_parked;
            return;
        }
        items.insert(at, item);
        *self.entries.entry(item.entry).or_default() += 1;
        if let Some(cause) = item.cause {
            self.by_cause.entry(cause).or_default().push(document);
        }
    }

    /// A journal holds what an agent was told.
    pub(super) fn note_told(&mut self, stream: i64) {
        self.told.insert(stream);
    }

    /// Whether an entry of a document that was brought back waits.
    pub(super) fn has_told(&self, document: DocId) -> bool {
        // almost always nothing was brought back, and every entry asks
        !self.told.is_empty() && self.told_on(document).next().is_some()
    }

    /// The documents of which such entries wait.
    pub(super) fn told_documents(&self) -> HashSet<DocId> {
        self.by_document.keys().copied().filter(|document| self.has_told(*document)).collect()
    }

    /// Entries of a document that were brought back and wait, each with what it follows.
    pub(super) fn told_on(&self, document: DocId) -> impl Iterator<Item = (EntryId, Option<EntryId>)> + '_ {
        let items = self.by_document.get(&document).into_iter().flatten();
        let told = items.filter(|item| item.is_parked && self.told.contains(&item.stream));
        told.map(|item| (item.entry, item.after))
    }

    /// What an entry follows that is set aside.
    pub(super) fn after(&self, document: DocId, entry: EntryId) -> Option<EntryId> {
        let items = self.by_document.get(&document)?;
        items.iter().find(|item| item.entry == entry)?.after
    }

    /// Whether an entry of `stream` at `seq` must wait behind an earlier one on its document.
    pub(super) fn is_behind(&self, document: DocId, stream: i64, seq: Seq) -> bool {
        !self.told.contains(&stream)
            && self.by_document.get(&document).is_some_and(|items| {
                let at = items.partition_point(|item| item.place() < (stream, seq));
                at > 0 && items[at - 1].stream == stream
            })
    }

    /// Whether the entry at this place is set aside.
    pub(super) fn is_held(&self, document: DocId, stream: i64, seq: Seq) -> bool {
        self.by_document.get(&document).is_some_and(|items| items.iter().any(|item| item.place() == (stream, seq)))
    }

    /// The site a document would have if its opening were applied.
    pub(super) fn site(&self, document: DocId) -> Option<&SiteId> {
        self.sites.get(&document)
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

    /// The waived entry without which an entry of this document cannot stand, if there is one.
    pub(super) fn rests_on(&self, document: DocId, after: Option<EntryId>, cause: Option<EntryId>) -> Option<EntryId> {
        if self.lost.is_empty() {
            return None;
        }
        [after, cause, Some(document.opening())].into_iter().flatten().find_map(|entry| self.lost.get(&entry)).copied()
    }

    /// An entry will never be applied.
    pub(super) fn lose(&mut self, entry: EntryId, waived: EntryId) {
        self.lost.insert(entry, waived);
    }

    /// Entries of a document that rest on a lost one and are not lost themselves yet.
    pub(super) fn resting_on_lost(&self, document: DocId) -> Vec<SetAside> {
        let items = self.by_document.get(&document).into_iter().flatten();
        let rests = |item: &&SetAside| {
            !self.lost.contains_key(&item.entry) && self.rests_on(document, item.after, item.cause).is_some()
        };
        items.filter(rests).copied().collect()
    }

    /// A parked entry of a document that may be applied on `head`, except those in `tried`.
    pub(super) fn candidate(
        &self,
        document: DocId,
        head: Option<EntryId>,
        tried: &[(i64, Seq)],
        which: Try,
    ) -> Option<SetAside> {
        let items = self.by_document.get(&document)?;
        let mut stream = None;
        for item in items {
            let is_behind = stream == Some(item.stream) && !self.told.contains(&item.stream);
            stream = Some(item.stream);
            let fits = which == Try::All || item.after.is_none() || item.after == head;
            let is_caused = item.cause.is_some_and(|cause| self.holds(cause));
            let is_new = !tried.contains(&item.place());
            if item.is_parked && !is_behind && fits && !is_caused && is_new {
                return Some(*item);
            }
        }
        None
    }

    /// Removes an entry that is set aside no more.
    pub(super) fn remove(&mut self, document: DocId, stream: i64, seq: Seq) {
        let Some(items) = self.by_document.get_mut(&document) else { return };
        let Some(at) = items.iter().position(|item| item.place() == (stream, seq)) else { return };
        let item = items.remove(at);
        if items.is_empty() {
            self.by_document.remove(&document);
            self.sites.remove(&document);
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

    /// An entry needs a person, or does no more.
    pub(super) fn set_parked(&mut self, document: DocId, stream: i64, seq: Seq, is_parked: bool) {
        let items = self.by_document.get_mut(&document).into_iter().flatten();
        for item in items.filter(|item| item.place() == (stream, seq)) {
            item.is_parked = is_parked;
        }
    }
}

/// Names bytes, wherever they stand.
pub(super) fn digest(bytes: &[u8]) -> Key {
    *blake3::hash(bytes).as_bytes()
}

/// The site an opening names.
pub(super) fn named_site(entry: &Entry) -> Option<SiteId> {
    entry.set.get(header::SITE.name()).and_then(Value::as_text).and_then(|text| text.parse().ok())
}

impl SetAside {
    pub(super) fn new(stream: i64, seq: Seq, entry: &Entry, hash: ShortHash, is_parked: bool) -> SetAside {
        SetAside { stream, seq, entry: entry.id, after: entry.after, cause: entry.cause, hash, is_parked }
    }

    /// Journal and place in it.
    fn place(&self) -> (i64, Seq) {
        (self.stream, self.seq)
    }
}
