//! What goes stands in a base: as entries are deleted, documents that go on after them are laid on one.
//!
//! What the hub lets go it has decided on, and told all about. What was captured later on the same document it may still take
//! out again, which must not need what is not here any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::{Database, WriteTransaction};

use waystation_protocol::chain::Seq;
use waystation_protocol::id::{DocId, StreamId};

use super::cache::{self, Snapshot};
use super::down;
use super::error::StoreError;
use super::ground::Ground;
use super::held::Held;
use super::journal;
use super::overlay::Overlay;
use super::shared::Shared;

/// Documents on new bases.
#[derive(Debug, Default)]
pub(super) struct Bases {
    /// As the cache has them …
    cached: Vec<Held>,
    /// … and those that changed since.
    recent: Vec<Held>,
    /// The first entries of the downward journal in no base: they follow what the hub may yet take out.
    first_told: Option<Seq>,
}

impl Bases {
    /// What is due before the journal here is deleted up to `limit`.
    pub(super) fn below_own(shared: &Shared, database: &Database, limit: Seq) -> Result<Bases, StoreError> {
        let pruned = shared.progress().pruned.mark.seq;
        let going: Vec<Seq> = (pruned.next().0..=limit.0).map(Seq).collect();
        let entries = journal::entries_at(database, &going)?;
        Bases::of(shared, database, entries.iter().map(|(_, entry)| entry.document()).collect(), limit)
    }

    /// What is due before the present downward journal is deleted up to `limit`.
    pub(super) fn below_down(shared: &Shared, database: &Database, limit: Seq) -> Result<Bases, StoreError> {
        let Some(current) = shared.down().current else { return Ok(Bases::default()) };
        let mut documents = BTreeSet::new();
        let count = limit.0.saturating_sub(current.pruned.seq.0);
        down::each_after(database, &current, current.pruned.seq, count, |_, entry| {
            documents.extend(entry.map(|entry| entry.document()));
            Ok(())
        })?;
        let decided = shared.progress().decided();
        Bases::of(shared, database, documents, decided)
    }

    /// Those of these documents that go on after `own`, on bases of what lies up to there.
    fn of(shared: &Shared, database: &Database, documents: BTreeSet<DocId>, own: Seq) -> Result<Bases, StoreError> {
        let (progress, state) = (*shared.progress(), shared.down().clone());
        let snapshot = Snapshot::open(database)?;
        let ground = Ground {
            zone: &shared.zone,
            own_pruned: progress.pruned.mark.seq,
            decided: progress.decided(),
            stream: state.stream(),
            down_pruned: state.pruned(),
            is_own: &|stream, seq| shared.is_own(stream, seq),
            entry_at: &|origin| snapshot.entry(origin),
            below: &|_| Ok(None),
        };
        let mut bases = Bases::default();
        for id in documents {
            let recent = shared.overlay().documents.get(&id).cloned();
            if let Some(held) = snapshot.held(id)?.filter(|held| held.goes_on_after(own)) {
                let laid = held.on_base_through(own, &ground)?;
                bases.note(laid.as_ref().unwrap_or(&held), ground.stream);
                bases.cached.extend(laid);
            }
            if let Some(held) = recent.filter(|held| held.goes_on_after(own)) {
                let laid = held.on_base_through(own, &ground)?;
                bases.note(laid.as_ref().unwrap_or(&held), ground.stream);
                bases.recent.extend(laid);
            }
        }
        Ok(bases)
    }

    fn note(&mut self, held: &Held, stream: Option<StreamId>) {
        let first = held.first_above_base(stream);
        self.first_told = self.first_told.into_iter().chain(first).min();
    }

    /// Up to where the downward journal may be deleted.
    pub(super) fn limit_down(&self) -> Seq {
        self.first_told.map_or(Seq(u64::MAX), |first| Seq(first.0.saturating_sub(1)))
    }

    /// Writes them, in the commit that deletes.
    pub(super) fn write(&self, write: &WriteTransaction) -> Result<(), StoreError> {
        cache::put_documents(write, &self.cached)
    }

    /// They are written: everyone may see them.
    pub(super) fn handle_written(self, shared: &Shared) {
        let documents = self.recent.into_iter().map(|held| (held.id, Arc::new(held))).collect();
        shared.merge(Overlay { documents, ..Overlay::default() });
    }
}
