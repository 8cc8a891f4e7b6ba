//! The one thread that writes. Requests that wait together share one commit.
//!
//! A caller is answered only after the commit that holds its entries is durable. After a failed commit nothing is
//! confirmed, and the database is reopened before anything else is written. The document cache is written when
//! nobody waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::Database;

use waystation_protocol::id::StreamId;
use waystation_protocol::message::Parent;
use waystation_protocol::plant::{Plant, is_planted};

use super::cache::Snapshot;
use super::disk::{Folder, Opener};
use super::error::{CaptureError, StoreError};
use super::numbers::Leases;
use super::place::Meet;
use super::request::{Keep, Pending, Request, answer};
use super::shared::Shared;
use super::stage::{ImportOutcome, ImportRow, Stage};
use super::{At, damage, down, drafts, open, place, refold, sealed};

/// Requests that may wait for the writer; more callers than this wait to be let in.
pub(super) const QUEUE: usize = 1_024;
/// Most acts that share a commit: it stays below what a slow disk writes in a few milliseconds.
const COMMIT_ACTS: usize = 512;
/// A commit waits this long for callers that shared the last one: they come again at once, or not at all.
const COMPANY: Duration = Duration::from_micros(200);
/// So many entries above the cache's watermark are folded in less than 50 ms at opening.
const CACHE_ENTRIES: usize = 1_000;
/// At so many the cache is written even if callers wait: it bounds memory, at about 2 KB per entry.
pub(super) const CACHE_ENTRIES_MOST: usize = 2_000;
/// How long nobody must have waited before the cache is written, with many entries and with few.
const PAUSE: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(2);
/// The disk's room is looked at after so many commits or bytes.
pub(super) const ROOM_COMMITS: u32 = 32;
const ROOM_BYTES: u64 = 128 * 1024;

pub(super) struct WriterThread {
    pub(super) shared: Arc<Shared>,
    pub(super) requests: Receiver<Request>,
    pub(super) folder: Folder,
    pub(super) opener: Opener,
    pub(super) leases: Leases,
    /// How many shared the last commit.
    pub(super) company: usize,
    /// Why nothing is captured for now: what is left of the disk is kept for sync.
    pub(super) is_short: bool,
    pub(super) commits_unlooked: u32,
    pub(super) total_looked: u64,
    /// Whether pruning is worth trying: not after it failed, until something changes.
    pub(super) may_prune: bool,
    /// Bytes of entries deleted since the file was last compacted.
    pub(super) deleted_bytes: u64,
}

/// What came of waiting.
enum Waited {
    Request(Request),
    Pause,
    Closed,
}

impl WriterThread {
    /// Serves until the store is closed or nobody holds it any more.
    pub(super) fn run(mut self) {
        loop {
            match self.wait() {
                Waited::Request(Request::Close) | Waited::Closed => break,
                Waited::Request(first) => {
                    let (requests, is_closing) = self.gather(first);
                    self.serve(requests);
                    if is_closing {
                        break;
                    }
                }
                Waited::Pause => self.pause(),
            }
            if !self.is_short && self.shared.overlay().size() >= CACHE_ENTRIES_MOST {
                self.write_cache();
            }
        }
        self.finish();
    }

    /// Nobody asks for anything: it rests, or a store that could not be reopened is tried again, so that sync goes on
    /// without a new capture.
    pub(super) fn pause(&mut self) {
        match self.reopen_if_lost() {
            Ok(()) => self.rest(),
            Err(error) => tracing::debug!(error = %describe(&error), "the store still cannot be reopened"),
        }
    }

    /// Writes the cache and closes the file.
    pub(super) fn finish(&mut self) {
        if !self.is_short {
            self.write_cache();
        }
        if self.shared.database_mut().take().is_some() {
            self.folder.note_closed(self.shared.progress().head);
        }
    }

    /// Serves what waits, and waits for nothing.
    pub(super) fn take_turn(&mut self) {
        while let Ok(first) = self.requests.try_recv() {
            let (requests, _) = self.gather(first);
            self.serve(requests);
        }
    }

    fn wait(&self) -> Waited {
        let entries = self.shared.overlay().size();
        let is_lost = self.shared.database().is_err();
        let patience = match entries {
            _ if is_lost => Some(IDLE),
            _ if self.can_prune() => Some(PAUSE),
            _ if self.is_short => None,
            0 if !self.shared.progress().is_unsaved && !self.shared.down().is_unsaved => None,
            CACHE_ENTRIES.. => Some(PAUSE),
            _ => Some(IDLE),
        };
        let Some(patience) = patience else {
            return self.requests.recv().map_or(Waited::Closed, Waited::Request);
        };
        match self.requests.recv_timeout(patience) {
            Ok(request) => Waited::Request(request),
            Err(RecvTimeoutError::Timeout) => Waited::Pause,
            Err(RecvTimeoutError::Disconnected) => Waited::Closed,
        }
    }

    /// Takes what else waits, and whether the store is to close after it. One import is a commit's worth.
    fn gather(&self, first: Request) -> (Vec<Request>, bool) {
        let mut has_import = matches!(first, Request::Import { .. });
        let mut requests = vec![first];
        while requests.len() < COMMIT_ACTS && !has_import {
            let next = match self.requests.try_recv() {
                Ok(next) => next,
                Err(_) if requests.len() < self.company => match self.requests.recv_timeout(COMPANY) {
                    Ok(next) => next,
                    Err(_) => break,
                },
                Err(_) => break,
            };
            if matches!(next, Request::Close) {
                return (requests, true);
            }
            has_import = matches!(next, Request::Import { .. });
            requests.push(next);
        }
        (requests, false)
    }

    fn serve(&mut self, requests: Vec<Request>) {
        self.company = requests.len();
        if let Err(error) = self.reopen_if_lost() {
            let error = Arc::new(error);
            requests.into_iter().for_each(|request| request.refuse(&error));
            return;
        }
        self.look_at_room();
        let mut acts = Vec::with_capacity(requests.len());
        for request in requests {
            match request {
                Request::Keep { what, reply } => answer(&reply, self.keep(what)),
                Request::Hear { stream, entries, reply } => answer(&reply, self.hear(stream, entries)),
                Request::Rehearse { rows, at, reply } => answer(&reply, self.rehearse(rows, at)),
                Request::Capture { .. } | Request::Import { .. } => acts.push(request),
                Request::Answer { .. } | Request::ClockRead { .. } => acts.push(request),
                Request::Progressed => self.may_prune = true,
                #[cfg(test)]
                Request::Rest { reply } => {
                    self.rest();
                    answer(&reply, ());
                }
                Request::Close => {}
            }
        }
        if self.is_short {
            acts.into_iter().for_each(|act| act.refuse(&Arc::new(StoreError::DiskFull)));
        } else if !acts.is_empty() {
            self.serve_acts(acts);
        }
    }

    fn serve_acts(&mut self, acts: Vec<Request>) {
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let snapshot = match shared.database().and_then(|database| Snapshot::open(&database)) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let error = Arc::new(error);
                acts.into_iter().for_each(|act| act.refuse(&error));
                return;
            }
        };
        let mut stage = Stage::new(&shared, snapshot, &mut self.leases, progress);
        let pending: Vec<Pending> = acts.into_iter().filter_map(|act| Pending::stage(act, &mut stage)).collect();
        if stage.is_empty() {
            pending.into_iter().for_each(Pending::confirm);
            return;
        }
        match commit(&shared, |write| stage.write(write)) {
            Ok(()) => {
                let committed = stage.handle_committed();
                let is_outdated = committed.disowns_cache;
                shared.handle_committed(committed);
                pending.into_iter().for_each(Pending::confirm);
                self.commits_unlooked += 1;
                if is_outdated {
                    self.reload();
                }
            }
            Err(error) => {
                let staged = stage.handle_committed();
                tracing::error!(error = %describe(&error), calls = pending.len(), "a commit failed: it is not confirmed");
                self.handle_failed(&error);
                if is_planted(Plant::ShowFailedCommit) {
                    shared.handle_committed(staged);
                }
                if is_planted(Plant::ConfirmFailedCommit) {
                    return pending.into_iter().for_each(Pending::confirm);
                }
                let error = Arc::new(error);
                pending.into_iter().for_each(|waiting| waiting.fail(&error));
            }
        }
    }

    /// Imports rows onto a stage that nothing is written from. Imported documents take no printed number, so none is
    /// lost.
    fn rehearse(&mut self, rows: Vec<ImportRow>, at: At) -> Result<Vec<ImportOutcome>, CaptureError> {
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let snapshot = shared.database().and_then(|database| Snapshot::open(&database))?;
        let mut stage = Stage::new(&shared, snapshot, &mut self.leases, progress);
        rows.into_iter().map(|row| stage.import(row, at)).collect()
    }

    /// Each in a commit of its own: drafts and keys are rare.
    fn keep(&mut self, what: Keep) -> Result<(), StoreError> {
        if self.is_short && matches!(what, Keep::Draft(_, Some(_))) {
            return Err(StoreError::DiskFull);
        }
        let stream = StreamId::from_bytes(self.shared.draw());
        let [a, b, c, ..] = *blake3::hash(&self.shared.draw()).as_bytes();
        let forked = Meet::after_fork(self.shared.meet(), [a, b, c]);
        let waits = match what {
            Keep::Fork(at, true) => self.shared.down().waits_after(stream, at.seq),
            Keep::Fork(_, false) | Keep::Draft(..) | Keep::HubKey(_) => self.shared.down().waits,
            Keep::Letter(_) | Keep::Met | Keep::Dismissal => self.shared.down().waits,
        };
        let written = commit(&self.shared, |write| {
            match &what {
                Keep::Draft(id, draft) => return drafts::put(write, *id, draft.as_ref()),
                Keep::HubKey(key) => open::put_hub_key(write, key)?,
                Keep::Letter(letter) => open::put_letter(write, *letter)?,
                Keep::Met => place::put_meet(write, None)?,
                Keep::Dismissal => damage::put_note(write, None)?,
                Keep::Fork(..) if is_planted(Plant::ForkNotWritten) => {}
                Keep::Fork(at, _) => {
                    down::put_waits(write, waits)?;
                    open::put_fork(write, stream, &Parent { stream: self.shared.identity().stream, at: *at })?;
                    place::put_meet(write, Some(forked))?;
                }
            }
            sealed::seal(write)
        });
        match (&written, what) {
            (Ok(()), Keep::HubKey(key)) => self.shared.set_hub_key(key),
            (Ok(()), Keep::Letter(letter)) => self.shared.set_letter(letter),
            (Ok(()), Keep::Fork(at, _)) => {
                self.shared.handle_forked(stream, at, waits);
                self.shared.set_meet(Some(forked));
            }
            (Ok(()), Keep::Met) => self.shared.set_meet(None),
            (Ok(()), Keep::Dismissal) => self.shared.set_salvage(None),
            (Ok(()), Keep::Draft(..)) => {}
            (Err(error), _) => self.handle_failed(error),
        }
        written
    }

    /// After a failed commit: the database is reopened, so that nothing unsynced is taken for written.
    pub(super) fn handle_failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::DiskFull) {
            self.folder.give_up_reserve();
            self.is_short = true;
            self.shared.set_short(true);
        }
        self.leases.forget();
        self.company = 1;
        if is_planted(Plant::NoReopen) {
            return;
        }
        *self.shared.database_mut() = None;
        if let Err(error) = self.reopen_if_lost() {
            tracing::error!(error = %describe(&error), "the store could not be reopened; the next call tries again");
        }
    }

    fn reopen_if_lost(&mut self) -> Result<(), StoreError> {
        let mut database = self.shared.database_mut();
        if database.is_some() {
            return Ok(());
        }
        let opened = self.folder.open(&self.opener)?;
        let loaded = refold::load(&opened, &self.shared.zone)?;
        self.shared.handle_reopened(&opened, loaded)?;
        *database = Some(opened);
        Ok(())
    }

    /// Notices a disk that runs full before it is, and one that has room again.
    pub(super) fn look_at_room(&mut self) {
        let total = self.shared.progress().head_total;
        let is_due = self.is_short
            || self.commits_unlooked >= ROOM_COMMITS
            || total.saturating_sub(self.total_looked) >= ROOM_BYTES;
        if !is_due {
            return;
        }
        (self.commits_unlooked, self.total_looked) = (0, total);
        let is_short = match self.folder.is_short() {
            Ok(is_short) => is_short,
            Err(error) => {
                tracing::warn!(error = %describe(&error), "the disk's room is not known");
                return;
            }
        };
        if is_short != self.is_short {
            tracing::warn!(is_short, "the room on the disk crossed the limit for capturing");
        }
        self.is_short = is_short;
        self.shared.set_short(is_short);
        if !is_short && let Err(error) = self.folder.occupy_reserve() {
            tracing::warn!(error = %describe(&error), "the reserve could not be taken");
        }
    }
}

/// One durable commit: one phase, one sync.
pub(super) fn commit(
    shared: &Shared,
    fill: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let database = shared.database()?;
    let database: &Database = &database;
    let mut write = database.begin_write()?;
    if is_planted(Plant::UnsyncedCommit) {
        write.set_durability(redb::Durability::None).expect("no savepoint was taken in it");
    }
    fill(&write)?;
    write.commit()?;
    shared.count_commit();
    Ok(())
}

/// An error with its causes, for the log.
pub(super) fn describe(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
