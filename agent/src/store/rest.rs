//! The writer at rest: what it does when nobody waits.
//!
//! The document cache is written, what the hub needs no more is deleted, and the file gives its room back. A failure here costs
//! nothing that was confirmed: it is tried again, or waits until something changes.

use std::sync::Arc;

use redb::Database;

use waystation_protocol::chain::Seq;

use super::bases::Bases;
use super::error::StoreError;
use super::writer::{ROOM_COMMITS, WriterThread, commit, describe};
use super::{cache, down, open, prune, refold};

/// So many at a time are cached where the disk is short of room.
const SOME_ENTRIES: u64 = 256;

impl WriterThread {
    /// Nobody waits: writes the cache and deletes what the hub needs no more. Short of room, deleting goes first, and only
    /// so much of the cache is written as lets entries go.
    pub(super) fn rest(&mut self) {
        if !self.is_short {
            self.write_cache();
        } else if self.wants_watermark() {
            self.write_some_cache();
        }
        let has_pruned = self.prune();
        // What may not go yet may once more is decided.
        if !self.prune_down() && !has_pruned {
            self.may_prune = false;
        }
    }

    /// Moves the cache's watermark a little: a full disk may have room for that, and for more once entries went.
    fn write_some_cache(&mut self) {
        let shared = Arc::clone(&self.shared);
        let written = shared.database().and_then(|database| {
            let has_moved = refold::fold_some(&database, SOME_ENTRIES, &shared.zone, |overlay, through, down| {
                commit(&shared, |write| cache::write(write, overlay, through, down))
            })?;
            if has_moved { shared.handle_reopened(&database, refold::load(&database, &shared.zone)?) } else { Ok(()) }
        });
        if let Err(error) = written {
            tracing::error!(error = %describe(&error), "the document cache could not be written");
            self.may_prune = false;
            self.handle_failed(&error);
        }
    }

    /// Whether there are entries to delete, once the cache is written.
    pub(super) fn can_prune(&self) -> bool {
        let limit = |database: &Database| prune::limit(database, &self.shared.progress());
        let found = self.shared.database().and_then(|database| limit(&database));
        let down = self.shared.database().and_then(|database| self.down_limit(&database));
        let has_limit = |found: Result<Option<Seq>, StoreError>| found.is_ok_and(|limit| limit.is_some());
        self.may_prune && (self.wants_watermark() || has_limit(found) || has_limit(down))
    }

    /// Whether entries may go that are not in the cache yet.
    fn wants_watermark(&self) -> bool {
        let entries = self.shared.overlay().entries;
        let progress = *self.shared.progress();
        entries > 0 && progress.prunable().0 > progress.head.seq.0.saturating_sub(entries as u64)
    }

    /// Deletes some thousands of entries in one commit.
    fn prune(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let deleted = shared.database().and_then(|database| {
            let Some(limit) = prune::limit(&database, &progress)? else { return Ok(None) };
            let bases = Bases::below_own(&shared, &database, limit)?;
            let mut pruned = None;
            commit(&shared, |write| {
                progress.save(write, &shared.proof(), &shared.ends())?;
                bases.write(write)?;
                pruned = Some(prune::delete(write, &database, limit)?);
                Ok(())
            })?;
            bases.handle_written(&shared);
            Ok(pruned)
        });
        match deleted {
            Ok(None) => false,
            Ok(Some(pruned)) => {
                self.deleted_bytes += pruned.total - progress.pruned.total;
                shared.handle_pruned(pruned);
                tracing::debug!(pruned = pruned.mark.seq.0, "entries the hub needs no more are deleted");
                self.compact();
                true
            }
            Err(error) => {
                tracing::error!(error = %describe(&error), "entries could not be deleted");
                self.handle_failed(&error);
                false
            }
        }
    }

    /// Gives the room of deleted entries back to the disk, where that is worth moving what stays.
    fn compact(&mut self) {
        let file = self.folder.database_bytes();
        let progress = *self.shared.progress();
        let is_done = progress.prunable() <= progress.pruned.mark.seq;
        if !is_done && !self.is_short || !prune::pays_to_compact(file, self.deleted_bytes, self.is_short) {
            return;
        }
        self.deleted_bytes = 0;
        let compacted = self.shared.database_mut().as_mut().map(Database::compact);
        match compacted {
            Some(Ok(_)) => {
                let now = self.folder.database_bytes();
                tracing::info!(before_bytes = file, now_bytes = now, "the store's file was compacted");
                self.commits_unlooked = ROOM_COMMITS;
                self.look_at_room();
            }
            Some(Err(redb::CompactionError::TransactionInProgress)) | None => {}
            Some(Err(error)) => {
                let error = StoreError::from(redb::Error::from(error));
                tracing::error!(error = %describe(&error), "the store's file could not be compacted");
                self.handle_failed(&error);
            }
        }
    }

    /// Writes what changed since the last time to the cache tables, with the hub's marks.
    pub(super) fn write_cache(&mut self) {
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let (ends, down, proof) = (shared.ends(), shared.down().clone(), shared.proof().clone());
        let entries = shared.overlay().size();
        if entries == 0 && !progress.is_unsaved && !down.is_unsaved {
            return;
        }
        let through = down.current.map(|current| (current.stream, current.head.seq));
        let hub_time = shared.timepiece().unsaved();
        let written = commit(&shared, |write| {
            progress.save(write, &proof, &ends)?;
            if let Some(time) = hub_time {
                open::put_hub_time(write, time)?;
            }
            down::save_prunable(write, down.prunable)?;
            if entries > 0 { cache::write(write, &shared.overlay(), progress.head.seq, through) } else { Ok(()) }
        });
        match written {
            Ok(()) => {
                if let Some(time) = hub_time {
                    shared.timepiece().handle_saved(time);
                }
                shared.handle_cached(&progress, &ends, &down);
            }
            Err(error) => {
                tracing::error!(error = %describe(&error), entries, "the document cache could not be written");
                self.may_prune = false;
                self.handle_failed(&error);
            }
        }
    }
}
