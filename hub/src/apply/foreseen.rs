//! What a hub that came back older had accepted before, as far as what agents brought back tells.
//!
//! An entry that was brought back may wait for one that is only stored as yet: nobody was told that one but as its own. It was
//! accepted all the same, and so was all that it follows. Another successor of any of these, as a second device of the site may
//! have captured it, was not, whichever is judged first.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;
use waystation_protocol::chain::Seq;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};

use super::Applier;
use super::waiting::Waiting;
use crate::store::{StoreError, lost, raw, seq_at};

/// What is stored and not processed yet of documents on which something that was brought back waits.
#[derive(Debug, Default)]
pub(super) struct Foreseen {
    documents: HashSet<DocId>,
    /// What each such entry follows.
    after: HashMap<EntryId, EntryId>,
    /// By journal: up to where it was read.
    read: BTreeMap<i64, Seq>,
}

impl Applier {
    /// Whether another entry than this one was accepted before as the successor of what it follows.
    pub(super) fn is_outdone(&mut self, id: DocId, entry: &Entry) -> Result<bool, StoreError> {
        let Some(after) = entry.after.filter(|_| self.waiting.has_told(id)) else { return Ok(false) };
        self.foreseen.look(&self.conn, &self.waiting, id)?;
        let successors = self.foreseen.successors(&self.waiting, id);
        Ok(successors.get(&after).is_some_and(|successor| *successor != entry.id))
    }
}

impl Foreseen {
    /// Reads what is stored beyond the processed marks, as far as it was not read before.
    fn look(&mut self, conn: &Connection, waiting: &Waiting, id: DocId) -> Result<(), StoreError> {
        if !self.documents.contains(&id) {
            *self = Foreseen { documents: waiting.told_documents(), ..Foreseen::default() };
        }
        let sql = "SELECT id, processed_seq, stored_seq FROM stream WHERE is_aside = 0 AND processed_seq < stored_seq";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (stream, processed, stored) = (row.get(0)?, seq_at(row, 1)?, seq_at(row, 2)?);
            let from = self.read.get(&stream).copied().unwrap_or_default().max(processed);
            match self.read_on(conn, stream, (from, stored)) {
                // whoever processes it stops there and says so
                Ok(()) | Err(StoreError::Damaged(_)) => self.read.insert(stream, stored),
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// Reads a journal between two seqs; lost ranges are passed over.
    fn read_on(&mut self, conn: &Connection, stream: i64, (from, to): (Seq, Seq)) -> Result<(), StoreError> {
        let mut at = from;
        while at < to {
            if let Some(lost) = lost::beginning_at(conn, stream, at.next())? {
                at = lost.end.seq;
                continue;
            }
            let batch = raw::containing(conn, stream, at.next())?;
            for (mark, bytes) in batch.entries.entries_from(at.next()) {
                at = mark.seq;
                let Ok(entry) = Entry::from_bytes(bytes) else { continue };
                if let Some(after) = entry.after.filter(|_| self.documents.contains(&entry.document())) {
                    self.after.insert(entry.id, after);
                }
            }
        }
        Ok(())
    }

    /// By what they follow, the entries of a document that lead to those brought back. Where these contradict each other, the
    /// first counts.
    fn successors(&self, waiting: &Waiting, id: DocId) -> HashMap<EntryId, EntryId> {
        let mut successors = HashMap::new();
        for (mut entry, mut follows) in waiting.told_on(id) {
            while let Some(after) = follows.filter(|after| !successors.contains_key(after)) {
                successors.insert(after, entry);
                (entry, follows) = (after, waiting.after(id, after).or(self.after.get(&after).copied()));
            }
        }
        successors
    }
}
