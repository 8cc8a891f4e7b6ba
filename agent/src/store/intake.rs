//! The writer's part in the downward journal: taking in what the hub sends, and deleting what it lets go.
//!
//! What arrives is committed with all it brings about. It is taken in even when the disk runs full: what is kept for sync
//! is meant for it.

use std::sync::Arc;

use redb::Database;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::StreamId;

use super::bases::Bases;
use super::cache::{self, Snapshot};
use super::down::{self, DownState};
use super::error::StoreError;
use super::refold;
use super::stage::Stage;
use super::writer::{WriterThread, commit, describe};

impl WriterThread {
    /// Takes in a stretch of a downward journal, in one commit with all it brings about. It is taken in even when the
    /// disk runs full: what is kept for sync is meant for it.
    pub(super) fn hear(&mut self, stream: StreamId, entries: Vec<(Mark, Vec<u8>)>) -> Result<(), StoreError> {
        if self.shared.down().stream() != Some(stream) {
            self.change_stream(stream)?;
        }
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let snapshot = Snapshot::open(&*shared.database()?)?;
        let mut stage = Stage::new(&shared, snapshot, &mut self.leases, progress);
        let written = stage.hear(entries).and_then(|()| commit(&shared, |write| stage.write(write)));
        match written {
            Ok(()) => {
                shared.handle_committed(stage.handle_committed());
                self.commits_unlooked += 1;
                self.may_prune = true;
                Ok(())
            }
            Err(error) => {
                drop(stage);
                tracing::error!(error = %describe(&error), %stream, "what the hub sent could not be kept");
                self.handle_failed(&error);
                Err(error)
            }
        }
    }

    /// Another downward journal takes the place of the present one. It begins with all that stands, so what the earlier
    /// one relayed no longer counts, and documents are folded anew.
    fn change_stream(&mut self, stream: StreamId) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let state = shared.down().clone();
        let mut fresh = None;
        let written = commit(&shared, |write| {
            fresh = Some(down::put_stream(write, &state, stream)?);
            if state.current.is_some() { cache::disown(write) } else { Ok(()) }
        });
        if let Err(error) = written {
            self.handle_failed(&error);
            return Err(error);
        }
        let is_first = state.current.is_none();
        *shared.down() = DownState { current: fresh, prunable: Seq(0), is_unsaved: false, ..state };
        if !is_first {
            tracing::warn!(%stream, "the hub begins a new downward journal; documents are folded anew");
            self.reload();
        }
        Ok(())
    }

    /// Folds everything anew, after the cache was disowned.
    pub(super) fn reload(&mut self) {
        let shared = Arc::clone(&self.shared);
        let loaded = {
            // Nobody reads meanwhile: half a cache is no document.
            let database = shared.database_mut();
            let database = database.as_ref().ok_or(StoreError::Closed);
            database.and_then(|database| shared.handle_reopened(database, refold::load(database, &shared.zone)?))
        };
        if let Err(error) = loaded {
            tracing::error!(error = %describe(&error), "documents could not be folded anew");
            self.handle_failed(&error);
        }
    }

    /// Deletes some thousands of entries of the downward journal in one commit.
    pub(super) fn prune_down(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let deleted = shared.database().and_then(|database| {
            let Some(limit) = self.down_limit(&database)? else { return Ok(None) };
            let bases = Bases::below_down(&shared, &database, limit)?;
            let limit = limit.min(bases.limit_down());
            if limit <= shared.down().pruned() {
                return Ok(None);
            }
            let mut current = None;
            commit(&shared, |write| {
                bases.write(write)?;
                current = Some(down::delete(write, &database, limit)?);
                Ok(())
            })?;
            bases.handle_written(&shared);
            Ok(current)
        });
        match deleted {
            Ok(None) => false,
            Ok(Some(current)) => {
                tracing::debug!(pruned = current.pruned.seq.0, "entries of the downward journal are deleted");
                shared.down().current = Some(current);
                true
            }
            Err(error) => {
                tracing::error!(error = %describe(&error), "entries of the downward journal could not be deleted");
                self.handle_failed(&error);
                false
            }
        }
    }

    /// Up to where the downward journal may be deleted now.
    pub(super) fn down_limit(&self, database: &Database) -> Result<Option<Seq>, StoreError> {
        let cached = cache::watermarks(database)?.and_then(|(_, down)| down);
        let state = self.shared.down();
        let cached = cached.filter(|(stream, _)| state.stream() == Some(*stream));
        Ok(cached.and_then(|(_, through)| state.limit(through)))
    }
}
