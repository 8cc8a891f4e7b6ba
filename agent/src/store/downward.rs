//! The store's calls about the downward journal: what arrives, what it did to documents, what people and the hub are
//! answered.

use redb::{ReadableDatabase, ReadableTable};

use waystation_protocol::batch;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::definition::Defined;
use waystation_protocol::down::Outcome;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId, StreamId};
use waystation_protocol::message::{self, Parent};

use super::error::{CaptureError, StoreError};
use super::hearing::Answer;
use super::journal::{self, Filled};
use super::request::{Keep, Request};
use super::salvage::GONE;
use super::settle::{Origin, SetAside};
use super::tables::ASIDE;
use super::told::{self, Due};
use super::{At, Store, down};

/// Most documents that [`Store::documents_set_aside`] names.
const ASIDE_LIMIT: usize = 500;

/// Where a document's last entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this machine alone.
    Here,
    /// Stored at the hub.
    Stored,
    /// Processed by the hub.
    Processed,
    /// The hub has set one of its entries aside.
    Aside,
    /// An entry of it could not be read from a damaged file, and the hub has told nothing of it.
    Damaged,
}

impl Whereabouts {
    /// Its wire name.
    pub fn name(self) -> &'static str {
        match self {
            Whereabouts::Here => "here",
            Whereabouts::Stored => "stored",
            Whereabouts::Processed => "processed",
            Whereabouts::Aside => "aside",
            Whereabouts::Damaged => "damaged",
        }
    }

    /// In Chinese.
    pub fn zh(self) -> &'static str {
        match self {
            Whereabouts::Here => "此机",
            Whereabouts::Stored => "已送达",
            Whereabouts::Processed => "已处理",
            Whereabouts::Aside => "隔离",
            Whereabouts::Damaged => "已损坏",
        }
    }

    /// In English.
    pub fn en(self) -> &'static str {
        match self {
            Whereabouts::Here => "Here",
            Whereabouts::Stored => "Delivered",
            Whereabouts::Processed => "Processed",
            Whereabouts::Aside => "Set aside",
            Whereabouts::Damaged => "Damaged",
        }
    }
}

impl Store {
    /// The present downward journal as far as it is here; none before the first entry of any.
    pub fn down(&self) -> Option<message::Held> {
        let current = self.shared.down().current?;
        Some(message::Held { stream: current.stream, head: current.head, pruned: current.pruned.seq })
    }

    /// A downward journal of which something is here, be it an earlier one.
    pub fn down_of(&self, stream: StreamId) -> Result<Option<message::Held>, StoreError> {
        let found = down::find(&*self.shared.database()?, stream)?;
        Ok(found.map(|found| message::Held { stream, head: found.head, pruned: found.pruned.seq }))
    }

    /// The hash of a downward journal's chain at `seq`, where it is known.
    pub fn down_hash_at(&self, stream: StreamId, seq: Seq) -> Option<Hash> {
        let found = self.shared.database().and_then(|database| down::hash_at(&database, stream, seq));
        found.unwrap_or_else(|error| {
            tracing::error!(%error, seq = seq.0, "the downward journal could not be read");
            None
        })
    }

    /// Puts entries of a downward journal into `builder`, to be returned to a hub that forgot them.
    pub fn fill_down_batch(
        &self,
        stream: StreamId,
        range: SeqRange,
        builder: &mut batch::Builder,
    ) -> Result<Filled, StoreError> {
        down::fill_batch(&*self.shared.database()?, stream, range, builder)
    }

    /// Takes in entries that continue a downward journal here, or begin another one, which then takes its place. Returns
    /// once they and all they bring about are durable.
    pub fn hear(&self, stream: StreamId, entries: Vec<(Mark, Vec<u8>)>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Hear { stream, entries, reply })?
    }

    /// Notes how much of the present downward journal the hub lets go. It reaches the disk within seconds.
    pub fn record_down_prunable(&self, prunable: Seq) {
        let is_news = {
            let mut state = self.shared.down();
            let is_news = state.current.is_some() && state.prunable != prunable;
            if is_news {
                (state.prunable, state.is_unsaved) = (prunable, true);
            }
            is_news
        };
        if is_news {
            let _ = self.calls.requests.try_send(Request::Progressed);
        }
    }

    /// Deletes soon what the hub lets go, in both journals.
    pub fn prune(&self) {
        let _ = self.calls.requests.try_send(Request::Progressed);
    }

    /// As [`Store::fork`]; acts on documents that are older than `at` then wait until the hub has sent its copy.
    pub fn fork_and_wait(&self, at: Mark) -> Result<(), StoreError> {
        self.keep(Keep::Fork(at, true))
    }

    /// The stream for whose documents the hub's copy is awaited, and where it branched off.
    pub fn awaits_copy(&self) -> Option<Parent> {
        let waits = self.shared.down().waits?;
        Some(Parent { stream: waits.stream, at: Mark { seq: waits.at, hash: self.hash_at(waits.at)? } })
    }

    /// Whether acts on older documents wait for the hub's copy.
    pub fn is_waiting_for_copy(&self) -> bool {
        self.shared.down().waits.is_some()
    }

    /// A document's entries that do not count as they were captured, those that did once included.
    pub fn set_aside(&self, id: DocId) -> Result<Vec<SetAside>, StoreError> {
        Ok(self.held(id)?.map_or_else(Vec::new, |held| held.aside().to_vec()))
    }

    /// Documents with entries set aside that may still change, at most some hundreds.
    pub fn documents_set_aside(&self) -> Result<Vec<DocId>, StoreError> {
        let rows = self.shared.database()?.begin_read()?.open_table(ASIDE)?;
        let overlay = self.shared.overlay();
        let mut found: Vec<DocId> = Vec::new();
        for row in rows.iter()?.take(ASIDE_LIMIT) {
            let id = DocId::from_bytes(*row?.0.value());
            found.extend((!overlay.documents.contains_key(&id)).then_some(id));
        }
        found.extend(overlay.documents.values().filter(|held| held.open_aside() > 0).map(|held| held.id));
        found.sort_unstable();
        found.truncate(ASIDE_LIMIT);
        Ok(found)
    }

    /// How many entries, of all these documents, are set aside and may still change.
    pub fn count_set_aside(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for id in self.documents_set_aside()? {
            count += self.held(id)?.map_or(0, |held| held.open_aside());
        }
        Ok(count)
    }

    /// Where a document's last entry is.
    pub fn whereabouts(&self, id: DocId) -> Result<Whereabouts, StoreError> {
        let Some(held) = self.held(id)? else { return Ok(Whereabouts::Here) };
        if held.open_aside() > 0 {
            return Ok(Whereabouts::Aside);
        }
        if held.seqs.first() == Some(&GONE) && held.down(self.shared.down().stream()).is_empty() {
            return Ok(Whereabouts::Damaged);
        }
        let confirmed = self.shared.progress().confirmed;
        Ok(match held.seqs.last() {
            Some(last) if *last > confirmed.stored.seq => Whereabouts::Here,
            Some(last) if *last > confirmed.processed => Whereabouts::Stored,
            Some(_) | None => Whereabouts::Processed,
        })
    }

    /// All of a document's entries that are here, those of others included: each after what it follows.
    pub fn whole_history(&self, id: DocId) -> Result<Vec<(Origin, Entry)>, StoreError> {
        let Some(held) = self.held(id)? else { return Ok(Vec::new()) };
        let stream = self.shared.down().current;
        let database = self.shared.database()?;
        let own = journal::entries_at(&database, &held.seqs)?;
        let mut own: Vec<(Origin, Entry)> = own.into_iter().map(|(seq, entry)| (Origin::Own(seq), entry)).collect();
        own.reverse();
        let mut heard = Vec::new();
        if let Some(stream) = stream {
            let read = database.begin_read()?;
            for seq in held.down(Some(stream.stream)).iter().rev() {
                heard.extend(down::entry_in(&read, &stream, *seq)?.map(|entry| (Origin::Down(*seq), entry)));
            }
        }
        Ok(interleaved(own, heard))
    }

    /// Commands of the hub without a result, the earliest first.
    pub fn commands(&self) -> Result<Vec<Due>, StoreError> {
        told::commands(&*self.shared.database()?)
    }

    /// Captures a command's result, once; false where it has one. `rebuilds`: the document cache is built anew after it.
    pub fn answer_command(
        &self,
        id: EntryId,
        outcome: Outcome,
        text: &str,
        rebuilds: bool,
        at: At,
    ) -> Result<bool, CaptureError> {
        let answer = Answer { outcome, text: text.to_owned(), rebuilds };
        self.ask(|reply| Request::Answer { id, answer, at, reply })?
    }

    /// The fields that the hub has defined, as they stand, by kind and name.
    pub fn definitions(&self) -> Result<Vec<Defined>, StoreError> {
        told::definitions(&*self.shared.database()?)
    }
}

/// Merges two journals' entries on a document, given in turned order, so that each comes after what it follows.
fn interleaved(mut own: Vec<(Origin, Entry)>, mut heard: Vec<(Origin, Entry)>) -> Vec<(Origin, Entry)> {
    let mut merged: Vec<(Origin, Entry)> = Vec::with_capacity(own.len() + heard.len());
    let has = |merged: &[(Origin, Entry)], entry: &Entry| match entry.after {
        Some(after) => merged.iter().any(|(_, earlier)| earlier.id == after),
        None => entry.is_opening() || !merged.is_empty(),
    };
    loop {
        let from_own = match (own.last(), heard.last()) {
            (None, None) => return merged,
            (Some((_, own)), Some((_, heard))) => has(&merged, own) || !has(&merged, heard),
            (own, _) => own.is_some(),
        };
        let next = if from_own { own.pop() } else { heard.pop() };
        if let Some((origin, entry)) = next
            && !merged.iter().any(|(_, earlier)| earlier.id == entry.id)
        {
            merged.push((origin, entry));
        }
    }
}
