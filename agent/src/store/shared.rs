//! What the store's callers and its writer both see.
//!
//! Only the writer changes the database, the overlay and the head; everyone reads them. Locks are taken in the order
//! database, overlay, down, progress, ends, and held briefly; only a reader of the database keeps its lock for as long as it
//! reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::tz::TimeZone;
use redb::Database;
use tokio::sync::watch;

use waystation_protocol::chain::{Mark, Seq};
use waystation_protocol::id::{EntryId, IdSource, StreamId};
use waystation_protocol::limits;
use waystation_protocol::message::Parent;
use waystation_protocol::number::Tag;
use waystation_protocol::plant::{Plant, is_planted};
use waystation_protocol::site::Sites;

use super::damage::Salvage;
use super::down::{DownState, Waits};
use super::error::StoreError;
use super::journal::{self, Confirmed, Progress};
use super::open::{self, Identity};
use super::overlay::Overlay;
use super::place::{self, Meet};
use super::prune::Pruned;
use super::refold::Loaded;
use super::stage::Committed;
use super::timepiece::Timepiece;
use super::{Counts, OpenOptions, damage, disk};

pub(super) struct Shared {
    pub(super) zone: TimeZone,
    pub(super) sites: Sites,
    pub(super) boot: u32,
    dir: PathBuf,
    database: RwLock<Option<Database>>,
    overlay: RwLock<Overlay>,
    progress: Mutex<Progress>,
    down: Mutex<DownState>,
    /// Ends of sent batches and acknowledged marks that are not kept on the disk yet.
    ends: Mutex<BTreeSet<Seq>>,
    identity: RwLock<Identity>,
    line: Mutex<Vec<Parent>>,
    meet: Mutex<Option<Meet>>,
    salvage: Mutex<Option<Salvage>>,
    hub_key: Mutex<Option<[u8; 32]>>,
    /// The hub's frame that said how far it has stored; empty where none was kept.
    proof: Mutex<Vec<u8>>,
    ids: Mutex<IdSource>,
    head: watch::Sender<Seq>,
    timepiece: Mutex<Timepiece>,
    is_short: AtomicBool,
    entries: AtomicU64,
    commits: AtomicU64,
    pruned: AtomicU64,
}

/// The open database. It is not closed while this is held.
pub(super) struct Opened<'a>(RwLockReadGuard<'a, Option<Database>>);

impl std::ops::Deref for Opened<'_> {
    type Target = Database;
    fn deref(&self) -> &Database {
        self.0.as_ref().expect("Shared::database gives this only where there is one")
    }
}

impl Shared {
    pub(super) fn new(
        dir: &Path,
        options: OpenOptions,
        database: Database,
        loaded: Loaded,
        is_short: bool,
    ) -> Result<Shared, StoreError> {
        let identity = open::identity(&database, options.sites.clone())?;
        let (hub_key, proof) = (open::hub_key(&database)?, journal::proof(&database)?);
        let line = open::line(&database, identity.stream)?;
        let meet = place::meet(&database)?;
        let salvage = damage::note(&database)?;
        let timepiece = Timepiece::new(open::hub_time(&database)?);
        let (head, _) = watch::channel(loaded.progress.head.seq);
        Ok(Shared {
            zone: options.zone,
            sites: options.sites,
            boot: options.boot,
            dir: dir.to_owned(),
            database: RwLock::new(Some(database)),
            overlay: RwLock::new(loaded.overlay),
            progress: Mutex::new(loaded.progress),
            down: Mutex::new(loaded.down),
            ends: Mutex::new(BTreeSet::new()),
            line: Mutex::new(line),
            meet: Mutex::new(meet),
            salvage: Mutex::new(salvage),
            identity: RwLock::new(identity),
            hub_key: Mutex::new(hub_key),
            proof: Mutex::new(proof),
            ids: Mutex::new(IdSource::new(if is_planted(Plant::SameIds) { [0; 10] } else { options.random })),
            head,
            timepiece: Mutex::new(timepiece),
            is_short: AtomicBool::new(is_short),
            entries: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            pruned: AtomicU64::new(0),
        })
    }

    pub(super) fn database(&self) -> Result<Opened<'_>, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if database.is_some() { Ok(Opened(database)) } else { Err(StoreError::Closed) }
    }

    /// For closing and reopening, by the writer alone. Waits until nobody reads.
    pub(super) fn database_mut(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn down(&self) -> MutexGuard<'_, DownState> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What stands in the numbers printed now.
    pub(super) fn tag(&self) -> Tag {
        let letter = || Tag::Letter(self.identity.read().unwrap_or_else(PoisonError::into_inner).letter);
        self.meet().map_or_else(letter, Meet::tag)
    }

    /// What is due at the next meeting with the hub.
    pub(super) fn meet(&self) -> Option<Meet> {
        *self.meet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn salvage(&self) -> Option<Salvage> {
        self.salvage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_salvage(&self, salvage: Option<Salvage>) {
        *self.salvage.lock().unwrap_or_else(PoisonError::into_inner) = salvage;
    }

    pub(super) fn set_meet(&self, meet: Option<Meet>) {
        *self.meet.lock().unwrap_or_else(PoisonError::into_inner) = meet;
    }

    pub(super) fn set_letter(&self, letter: char) {
        self.identity.write().unwrap_or_else(PoisonError::into_inner).letter = letter;
    }

    pub(super) fn line(&self) -> Vec<Parent> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether an entry at this place of `stream` stands at the same place of the journal here.
    pub(super) fn is_own(&self, stream: StreamId, seq: Seq) -> bool {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.iter().any(|parent| parent.stream == stream && seq <= parent.at.seq)
            || self.identity.read().unwrap_or_else(PoisonError::into_inner).stream == stream
    }

    /// The journal goes on in `stream`, which left the one before at `at`.
    pub(super) fn handle_forked(&self, stream: StreamId, at: Mark, waits: Option<Waits>) {
        self.down().waits = waits;
        let mut identity = self.identity.write().unwrap_or_else(PoisonError::into_inner);
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.insert(0, Parent { stream: std::mem::replace(&mut identity.stream, stream), at });
        line.truncate(limits::LINE_STREAMS);
    }

    pub(super) fn hub_key(&self) -> Option<[u8; 32]> {
        *self.hub_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn proof(&self) -> MutexGuard<'_, Vec<u8>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_hub_key(&self, key: [u8; 32]) {
        *self.hub_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(super) fn draw(&self) -> [u8; 16] {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    pub(super) fn draw_entry(&self) -> EntryId {
        EntryId::from_bytes(self.draw())
    }

    pub(super) fn watch_head(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    pub(super) fn timepiece(&self) -> MutexGuard<'_, Timepiece> {
        self.timepiece.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hub's time is to be saved with its marks, where it moved enough; whether it is.
    pub(super) fn note_hub_time(&self) -> bool {
        let is_unsaved = self.timepiece().unsaved().is_some();
        self.progress().is_unsaved |= is_unsaved;
        is_unsaved
    }

    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    pub(super) fn set_short(&self, is_short: bool) {
        self.is_short.store(is_short, Ordering::Relaxed);
    }

    pub(super) fn disk_free(&self) -> Result<u64, StoreError> {
        Ok(disk::room(&self.dir)?.free)
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            entries: self.entries.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            pruned: self.pruned.load(Ordering::Relaxed),
        }
    }

    /// Documents are as these say, for everyone.
    pub(super) fn merge(&self, later: Overlay) {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner).merge(later);
    }

    /// Entries are durable: everyone may see them.
    pub(super) fn handle_committed(&self, committed: Committed) {
        let Committed { gained, progress: reached, down, is_rehydrated, disowns_cache: _, clock_read } = committed;
        if let Some(at) = clock_read {
            self.timepiece().handle_read(at);
        }
        let count = {
            self.merge(gained);
            let mut state = self.down();
            state.current = down.or(state.current);
            if is_rehydrated {
                state.waits = None;
            }
            drop(state);
            let mut progress = self.progress();
            let count = reached.head.seq.0 - progress.head.seq.0;
            (progress.head, progress.head_total) = (reached.head, reached.head_total);
            progress.oldest_at = progress.oldest_at.or(reached.oldest_at);
            count
        };
        self.entries.fetch_add(count, Ordering::Relaxed);
        self.head.send_replace(reached.head.seq);
    }

    /// The overlay and the hub's marks, as `saved` has them, are in the cache now, and `ends` are kept.
    pub(super) fn handle_cached(&self, saved: &Progress, ends: &BTreeSet<Seq>, down: &DownState) {
        *self.overlay.write().unwrap_or_else(PoisonError::into_inner) = Overlay::default();
        let mut state = self.down();
        state.is_unsaved &= state.prunable != down.prunable;
        drop(state);
        let mut progress = self.progress();
        let mut unkept = self.unkept();
        unkept.retain(|end| !ends.contains(end));
        if progress.confirmed == saved.confirmed && unkept.is_empty() {
            progress.is_unsaved = false;
        }
    }

    /// Ends that are to be kept with the next save.
    pub(super) fn ends(&self) -> BTreeSet<Seq> {
        self.unkept().clone()
    }

    /// The hash at `seq` is to be kept; whether that is news.
    pub(super) fn keep_hash_at(&self, seq: Seq) -> bool {
        let mut progress = self.progress();
        let is_news = self.unkept().insert(seq);
        progress.is_unsaved |= is_news;
        is_news
    }

    /// Entries up to a mark are deleted.
    pub(super) fn handle_pruned(&self, pruned: Pruned) {
        let mut progress = self.progress();
        let count = pruned.mark.seq.0 - progress.pruned.mark.seq.0;
        progress.pruned = pruned;
        drop(progress);
        self.pruned.fetch_add(count, Ordering::Relaxed);
    }

    fn unkept(&self) -> MutexGuard<'_, BTreeSet<Seq>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database was reopened: memory is what the disk says, but what the hub has said stays said.
    pub(super) fn handle_reopened(&self, database: &Database, loaded: Loaded) -> Result<(), StoreError> {
        let Loaded { overlay, progress: mut found, down: mut held } = loaded;
        *self.overlay.write().unwrap_or_else(PoisonError::into_inner) = overlay;
        let mut down = self.down();
        if down.stream() == held.stream() {
            (held.prunable, held.is_unsaved) = (down.prunable, down.is_unsaved);
        }
        *down = held;
        drop(down);
        let mut progress = self.progress();
        if let Some(total) = journal::total_at(database, progress.confirmed.stored)? {
            (found.confirmed, found.stored_total) = (progress.confirmed, total);
            found.oldest_at = journal::recorded_at(database, found.unconfirmed_from())?;
            found.is_unsaved = true;
        }
        *progress = found;
        self.head.send_replace(found.head.seq);
        Ok(())
    }

    /// Notes the hub's marks; whether any moved.
    pub(super) fn record_stored(&self, mark: Mark, processed: Seq, prunable: Seq) -> Result<bool, StoreError> {
        let database = self.database()?;
        let mut progress = self.progress();
        let confirmed = Confirmed { stored: mark, processed, prunable };
        if progress.confirmed == confirmed {
            return Ok(false);
        }
        if progress.confirmed.stored != mark {
            let total = journal::total_at(&database, mark)?;
            let unknown =
                || StoreError::Damaged(format!("the hub has stored {}, the journal here does not have it", mark.seq));
            progress.stored_total = total.ok_or_else(unknown)?;
            progress.confirmed.stored = mark;
            progress.oldest_at = journal::recorded_at(&database, progress.unconfirmed_from())?;
            self.unkept().insert(mark.seq);
        }
        progress.confirmed = confirmed;
        progress.is_unsaved = true;
        Ok(true)
    }
}
