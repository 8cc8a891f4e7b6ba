//! The one thread that writes. Requests that wait together share one commit.
//!
//! A caller is answered only after the commit that holds its entries is durable. After a failed commit nothing is
//! confirmed, and the database is reopened before anything else is written. The document cache is written when
//! nobody waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use redb::Database;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::{EntryId, StreamId};
use waystation_protocol::message::Parent;
use waystation_protocol::plant::{Plant, is_planted};

use super::cache::{self, Snapshot};
use super::disk::{Folder, Opener};
use super::drafts::{self, Draft, DraftId};
use super::error::{CaptureError, StoreError};
use super::hearing::Answer;
use super::numbers::Leases;
use super::place::Meet;
use super::shared::Shared;
use super::stage::{ImportOutcome, ImportRow, Receipt, Stage};
use super::{At, damage, down, open, place, prune, refold, sealed};

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
/// So many at a time are cached where the disk is short of room.
const SOME_ENTRIES: u64 = 256;
/// How long nobody must have waited before the cache is written, with many entries and with few.
const PAUSE: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(2);
/// The disk's room is looked at after so many commits or bytes.
const ROOM_COMMITS: u32 = 32;
const ROOM_BYTES: u64 = 128 * 1024;

/// A call, and where its answer goes.
pub(super) enum Request {
    Capture {
        wish: Box<Wish>,
        seen: Option<EntryId>,
        at: At,
        reply: Reply<Result<Receipt, CaptureError>>,
    },
    Import {
        rows: Vec<ImportRow>,
        at: At,
        reply: Reply<Result<Vec<ImportOutcome>, CaptureError>>,
    },
    Keep {
        what: Keep,
        reply: Reply<Result<(), StoreError>>,
    },
    /// Entries that continue this downward journal.
    Hear {
        stream: StreamId,
        entries: Vec<(Mark, Vec<u8>)>,
        reply: Reply<Result<(), StoreError>>,
    },
    /// Something the hub told is answered, unless it was before.
    Answer {
        id: EntryId,
        answer: Answer,
        at: At,
        reply: Reply<Result<bool, CaptureError>>,
    },
    /// The clock was read and shows a step.
    ClockRead {
        at: At,
        reply: Reply<Result<bool, CaptureError>>,
    },
    /// The hub's marks moved; they are saved at the next pause.
    Progressed,
    /// To rest at once.
    #[cfg(test)]
    Rest {
        reply: Reply<()>,
    },
    Close,
}

/// What is kept beside the journal, durably.
pub(super) enum Keep {
    Draft(DraftId, Option<Draft>),
    HubKey([u8; 32]),
    Letter(char),
    /// A new stream that leaves the present one at this mark, and whether older documents wait for the hub's copy.
    Fork(Mark, bool),
    /// The hub was met.
    Met,
    /// People know what was salvaged.
    Dismissal,
}

pub(super) type Reply<T> = SyncSender<T>;

/// An answer that waits for the commit.
#[allow(clippy::large_enum_variant, reason = "a few hundred of them live for one commit")]
enum Pending {
    Receipt(Reply<Result<Receipt, CaptureError>>, Result<Receipt, CaptureError>),
    Outcomes(Reply<Result<Vec<ImportOutcome>, CaptureError>>, Result<Vec<ImportOutcome>, CaptureError>),
    Answered(Reply<Result<bool, CaptureError>>, Result<bool, CaptureError>),
}

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

    /// Nobody waits: writes the cache and deletes what the hub needs no more. Short of room, deleting goes first, and only
    /// so much of the cache is written as lets entries go.
    fn rest(&mut self) {
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
    fn can_prune(&self) -> bool {
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
            let limit = limit.min(self.undecided(&database)?.0);
            if limit <= progress.pruned.mark.seq {
                return Ok(None);
            }
            let mut pruned = None;
            commit(&shared, |write| {
                progress.save(write, &shared.ends())?;
                pruned = Some(prune::delete(write, &database, limit)?);
                Ok(())
            })?;
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
    fn write_cache(&mut self) {
        let shared = Arc::clone(&self.shared);
        let progress = *shared.progress();
        let (ends, down) = (shared.ends(), shared.down().clone());
        let entries = shared.overlay().size();
        if entries == 0 && !progress.is_unsaved && !down.is_unsaved {
            return;
        }
        let through = down.current.map(|current| (current.stream, current.head.seq));
        let hub_time = shared.timepiece().unsaved();
        let written = commit(&shared, |write| {
            progress.save(write, &ends)?;
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
    fn look_at_room(&mut self) {
        let total = self.shared.progress().head_total;
        let is_due = self.is_short
            || self.commits_unlooked >= ROOM_COMMITS
            || total.saturating_sub(self.total_looked) >= ROOM_BYTES;
        if !is_due {
            return;
        }
        (self.commits_unlooked, self.total_looked) = (0, total);
        let is_short = match self.folder.room() {
            Ok(room) => room.is_short(),
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

impl Request {
    fn refuse(self, error: &Arc<StoreError>) {
        match self {
            Request::Capture { reply, .. } => answer(&reply, Err(not_captured(error))),
            Request::Import { reply, .. } => answer(&reply, Err(not_captured(error))),
            Request::Keep { reply, .. } | Request::Hear { reply, .. } => answer(&reply, Err(StoreError::Closed)),
            Request::Answer { reply, .. } | Request::ClockRead { reply, .. } => {
                answer(&reply, Err(not_captured(error)))
            }
            #[cfg(test)]
            Request::Rest { reply } => answer(&reply, ()),
            Request::Progressed | Request::Close => {}
        }
    }
}

impl Pending {
    /// Puts an act onto the stage; none where the request is no act.
    fn stage(act: Request, stage: &mut Stage<'_>) -> Option<Pending> {
        match act {
            Request::Capture { wish, seen, at, reply } => Some(Pending::Receipt(reply, stage.capture(*wish, seen, at))),
            Request::Import { rows, at, reply } => {
                let outcomes = rows.into_iter().map(|row| stage.import(row, at)).collect();
                Some(Pending::Outcomes(reply, outcomes))
            }
            Request::Answer { id, answer, at, reply } => Some(Pending::Answered(reply, stage.answer(id, answer, at))),
            Request::ClockRead { at, reply } => Some(Pending::Answered(reply, Ok(stage.note_step(at)))),
            #[cfg(test)]
            Request::Rest { .. } => None,
            Request::Hear { .. } | Request::Keep { .. } | Request::Progressed | Request::Close => None,
        }
    }

    fn confirm(self) {
        match self {
            Pending::Receipt(reply, result) => answer(&reply, result),
            Pending::Outcomes(reply, result) => answer(&reply, result),
            Pending::Answered(reply, result) => answer(&reply, result),
        }
    }

    /// What was wrong with an act stays the answer; what would have been confirmed is not.
    fn fail(self, error: &Arc<StoreError>) {
        match self {
            Pending::Receipt(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
            Pending::Outcomes(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
            Pending::Answered(reply, result) => answer(&reply, result.and_then(|_| Err(not_captured(error)))),
        }
    }
}

fn not_captured(error: &Arc<StoreError>) -> CaptureError {
    match **error {
        StoreError::DiskFull => CaptureError::DiskFull,
        _ => CaptureError::Failed(Arc::clone(error)),
    }
}

/// A caller that went away needs no answer.
fn answer<T>(reply: &Reply<T>, value: T) {
    let _ = reply.send(value);
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
