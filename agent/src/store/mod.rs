//! The agent's store: one redb file that holds the journal, and a cache of what its entries fold to.
//!
//! A capture is confirmed only after one durable commit of the journal. Documents, lists and sums are memory above a
//! watermark and cache tables below it, always a fold of the journal. All calls block; one thread writes. Nothing
//! here knows of MQTT, HTTP or clocks.

mod bases;
mod books;
mod cache;
mod damage;
mod debris;
mod disk;
mod down;
mod downward;
mod drafts;
mod error;
mod ground;
mod hearing;
mod held;
mod in_place;
mod intake;
mod journal;
mod kept;
mod list;
mod numbers;
mod open;
mod overlay;
mod pages;
mod place;
mod prune;
mod readings;
mod rebuild;
mod refold;
mod request;
mod rest;
mod salvage;
mod sealed;
mod settle;
mod shared;
mod stage;
mod tables;
mod timepiece;
mod told;
mod turn;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use jiff::tz::TimeZone;
use redb::ReadableDatabase;
use tokio::sync::watch;

use waystation_protocol::batch;
use waystation_protocol::chain::{Hash, Mark, Seq, SeqRange};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::entry::Entry;
use waystation_protocol::id::{DocId, EntryId};
use waystation_protocol::message::Parent;
use waystation_protocol::number::Tag;
use waystation_protocol::site::Sites;
use waystation_protocol::time::{ClockQuality, Timestamp};

pub use damage::Salvage;
#[doc(hidden)]
pub use disk::Opener;
pub use downward::Whereabouts;
pub use drafts::{Draft, DraftId};
pub use error::{CaptureError, StoreError};
pub use journal::{Backlog, Filled};
pub use list::{Filter, PAGE_LIMIT, Page};
pub use open::Identity;
pub use settle::{Origin, SetAside, Standing};
pub use stage::{ImportOutcome, ImportRow, Receipt};
pub use told::{Answered, Due};

use cache::Snapshot;
use disk::Folder;
use held::Held;
use list::{Fresh, Wanted};
use numbers::Leases;
use open::Birth;
use request::{Keep, Reply, Request};
use shared::Shared;
use writer::{QUEUE, WriterThread};

/// When an act is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Wall time.
    pub now: Timestamp,
    /// Milliseconds since this process started.
    pub mono_ms: u64,
}

/// What opening needs to be told.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The sites this agent captures for.
    pub sites: Sites,
    /// What a fresh store puts into printed numbers.
    pub letter: char,
    /// Fresh at every process start: entry ids begin with it.
    pub random: [u8; 10],
    /// Which process start this is.
    pub boot: u32,
    /// The agent's and the stream's id of a fresh store.
    pub new_ids: [[u8; 16]; 2],
    /// The signing key's seed of a fresh store.
    pub new_key: [u8; 32],
    /// In whose days numbers and facts are counted.
    pub zone: TimeZone,
    /// Room kept on the disk, so that sync goes on when it is full.
    pub reserve_bytes: u64,
}

/// What the store did since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Entries captured.
    pub entries: u64,
    /// Durable commits, those of the cache included.
    pub commits: u64,
    /// Entries deleted that the hub has and needs no more.
    pub pruned: u64,
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    calls: Arc<Calls>,
}

/// The way to the writer, which finishes and stops with it.
struct Calls {
    requests: SyncSender<Request>,
    writer: Writer,
}

/// Where the writer is; none once it stopped.
enum Writer {
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// On the thread of whoever calls.
    InPlace(Mutex<Option<Box<WriterThread>>>),
}

impl Store {
    /// Opens the store in `dir`, and creates it where there is none.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Store, StoreError> {
        let folder = Folder::take(dir, options.reserve_bytes, true)?;
        Store::start(folder, options, Arc::new(disk::open_file))
    }

    #[cfg(test)]
    fn open_with(dir: &Path, options: OpenOptions, opener: Opener) -> Result<Store, StoreError> {
        Store::start(Folder::take(dir, options.reserve_bytes, false)?, options, opener)
    }

    fn start(folder: Folder, options: OpenOptions, opener: Opener) -> Result<Store, StoreError> {
        let (writer, requests) = Store::load(folder, options, opener)?;
        let shared = Arc::clone(&writer.shared);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run());
        let thread = thread.map_err(StoreError::io("start the writer"))?;
        let writer = Writer::Thread(Mutex::new(Some(thread)));
        Ok(Store { shared, calls: Arc::new(Calls { requests, writer }) })
    }

    /// All of opening but starting the writer.
    fn load(
        folder: Folder,
        options: OpenOptions,
        opener: Opener,
    ) -> Result<(WriterThread, SyncSender<Request>), StoreError> {
        let birth =
            Birth { ids: options.new_ids, key: options.new_key, letter: options.letter, random: options.random };
        let opened = match open::open(&folder, &opener, &birth, &options.zone) {
            Err(StoreError::DiskFull) => {
                folder.give_up_reserve();
                open::open(&folder, &opener, &birth, &options.zone)
            }
            opened => opened,
        };
        let (database, loaded) = opened?;
        if let Err(error) = folder.occupy_reserve() {
            tracing::warn!(%error, "the reserve could not be taken");
        }
        let is_short = folder.is_short()?;
        let total = loaded.progress.head_total;
        let shared = Arc::new(Shared::new(folder.dir(), options, database, loaded, is_short)?);
        let (requests, received) = mpsc::sync_channel(QUEUE);
        let writer = WriterThread {
            shared,
            requests: received,
            folder,
            opener,
            leases: Leases::default(),
            company: 1,
            is_short,
            commits_unlooked: 0,
            total_looked: total,
            may_prune: true,
            deleted_bytes: 0,
        };
        Ok((writer, requests))
    }

    /// Who this agent is.
    pub fn identity(&self) -> Identity {
        self.shared.identity()
    }

    /// Captures an act with its effects. Returns once it is durable.
    pub fn capture(&self, wish: Wish, at: At) -> Result<Receipt, CaptureError> {
        self.capture_seen(wish, None, at)
    }

    /// As [`Store::capture`], but only if the document's head is still the entry its author saw.
    pub fn capture_seen(&self, wish: Wish, seen: Option<EntryId>, at: At) -> Result<Receipt, CaptureError> {
        self.ask(|reply| Request::Capture { wish: Box::new(wish), seen, at, reply })?
    }

    /// Imports rows in one durable commit; their outcomes come in their order. Callers send at most a few thousand.
    pub fn capture_import(&self, rows: Vec<ImportRow>, at: At) -> Result<Vec<ImportOutcome>, CaptureError> {
        self.ask(|reply| Request::Import { rows, at, reply })?
    }

    /// Whether a store was ever opened in this folder.
    pub fn exists_in(dir: &Path) -> bool {
        dir.join(disk::STORE).exists()
    }

    /// What [`Store::capture_import`] would answer. Nothing is captured; only rows of one call know of each other.
    pub fn rehearse_import(&self, rows: Vec<ImportRow>, at: At) -> Result<Vec<ImportOutcome>, CaptureError> {
        self.ask(|reply| Request::Rehearse { rows, at, reply })?
    }

    /// A document.
    pub fn document(&self, id: DocId) -> Result<Option<Document>, StoreError> {
        Ok(self.held(id)?.and_then(|held| held.document.clone()))
    }

    /// A page of documents, the newest change first.
    pub fn documents(&self, filter: &Filter) -> Result<Page, StoreError> {
        let wanted = Wanted::new(filter)?;
        let database = self.shared.database()?;
        let (read, fresh) = {
            let overlay = self.shared.overlay();
            (database.begin_read()?, Fresh::of(&overlay, &wanted))
        };
        list::page(&read, &fresh, &wanted)
    }

    /// A document's entries in this journal as far as they are here, in their order; empty if there is no such document. Those up to
    /// [`Store::pruned`] are at the hub alone: [`Store::earlier`] counts them.
    pub fn history(&self, id: DocId) -> Result<Vec<(Seq, Entry)>, StoreError> {
        let seqs = self.seqs(id)?;
        journal::entries_at(&*self.shared.database()?, &seqs)
    }

    /// How many of a document's entries are pruned: the hub has them.
    pub fn earlier(&self, id: DocId) -> Result<usize, StoreError> {
        let pruned = self.pruned();
        Ok(self.seqs(id)?.iter().filter(|seq| **seq != salvage::GONE && **seq <= pruned).count())
    }

    /// Where a document's last entry stands in the journal: at or below [`Store::stored`], the hub has it.
    pub fn last_seq(&self, id: DocId) -> Result<Option<Seq>, StoreError> {
        Ok(self.seqs(id)?.last().copied())
    }

    /// Saves a draft, durably, as a new one or over the one named.
    pub fn save_draft(&self, id: Option<DraftId>, draft: Draft) -> Result<DraftId, StoreError> {
        let id = id.unwrap_or_else(|| DraftId::new(self.shared.draw()));
        self.keep(Keep::Draft(id, Some(draft)))?;
        Ok(id)
    }

    /// A draft.
    pub fn draft(&self, id: DraftId) -> Result<Option<Draft>, StoreError> {
        drafts::find(&*self.shared.database()?, id)
    }

    /// All drafts, the last saved first.
    pub fn drafts(&self) -> Result<Vec<(DraftId, Draft)>, StoreError> {
        drafts::all(&*self.shared.database()?)
    }

    /// Drops a draft, if it is there.
    pub fn drop_draft(&self, id: DraftId) -> Result<(), StoreError> {
        self.keep(Keep::Draft(id, None))
    }

    /// How far the journal goes.
    pub fn head(&self) -> Mark {
        self.shared.progress().head
    }

    /// The chain's hash at `seq`, where the journal has it, or kept it after pruning.
    pub fn hash_at(&self, seq: Seq) -> Option<Hash> {
        let found = self.shared.database().and_then(|database| journal::hash_at(&database, seq));
        found.unwrap_or_else(|error| {
            tracing::error!(%error, seq = seq.0, "the journal could not be read");
            None
        })
    }

    /// Up to where entries are deleted here: the hub has them.
    pub fn pruned(&self) -> Seq {
        self.shared.progress().pruned.mark.seq
    }

    /// Lets the hash at `seq` outlive its entry: a batch that ends there was sent, and the hub may store up to there and its
    /// acknowledgement be lost; or the hub says that it has it. It reaches the disk within seconds.
    pub fn keep_hash_at(&self, seq: Seq) {
        if self.shared.keep_hash_at(seq) {
            let _ = self.calls.requests.try_send(Request::Progressed);
        }
    }

    /// Puts entries of `range` into `builder` until it is full or the journal ends, and checks their chain.
    pub fn fill_batch(&self, range: SeqRange, builder: &mut batch::Builder) -> Result<Filled, StoreError> {
        journal::fill_batch(&*self.shared.database()?, range, builder)
    }

    /// The mark up to which the hub has stored.
    pub fn stored(&self) -> Mark {
        self.shared.progress().confirmed.stored
    }

    /// How far the hub has processed, and may entries be deleted.
    pub fn processed_and_prunable(&self) -> (Seq, Seq) {
        let confirmed = self.shared.progress().confirmed;
        (confirmed.processed, confirmed.prunable)
    }

    /// Notes what the hub says it has. The mark may also move back. It reaches the disk within seconds; after a crash
    /// the hub says it again.
    pub fn record_stored(&self, mark: Mark, processed: Seq, prunable: Seq) -> Result<(), StoreError> {
        if self.shared.record_stored(mark, processed, prunable)? {
            // A full queue wakes the writer all the same.
            let _ = self.calls.requests.try_send(Request::Progressed);
        }
        Ok(())
    }

    /// Keeps the hub's frame that says how far it has stored: should the hub come back older, it proves that to it. It is
    /// saved with the marks.
    pub fn keep_proof(&self, frame: &[u8]) {
        let mut proof = self.shared.proof();
        proof.clear();
        proof.extend_from_slice(frame);
    }

    /// That frame; none where none was kept.
    pub fn proof(&self) -> Option<Vec<u8>> {
        Some(self.shared.proof().clone()).filter(|proof| !proof.is_empty())
    }

    /// What the hub has not confirmed to have.
    pub fn backlog(&self) -> Backlog {
        self.shared.progress().backlog()
    }

    /// The journal's head, as it moves.
    pub fn watch_head(&self) -> watch::Receiver<Seq> {
        self.shared.watch_head()
    }

    /// The hub's public key, once it is pinned.
    pub fn hub_key(&self) -> Option<[u8; 32]> {
        self.shared.hub_key()
    }

    /// Pins the hub's public key, durably.
    pub fn pin_hub_key(&self, key: [u8; 32]) -> Result<(), StoreError> {
        self.keep(Keep::HubKey(key))
    }

    /// Takes the number letter the hub gave, durably; later numbers carry it.
    pub fn adopt_letter(&self, letter: char) -> Result<(), StoreError> {
        if self.identity().letter == letter { Ok(()) } else { self.keep(Keep::Letter(letter)) }
    }

    /// The streams this journal's stream came from, the nearest first, each with the mark at which it was left.
    pub fn line(&self) -> Vec<Parent> {
        self.shared.line()
    }

    /// Goes on in a new stream after `at`, durably: it is on the disk before it is used. Both streams share what lies
    /// up to there. Letters belong to streams, so numbers are provisional until [`Store::handle_met`].
    pub fn fork(&self, at: Mark) -> Result<(), StoreError> {
        self.keep(Keep::Fork(at, false))
    }

    /// Whether this store was copied, moved or put back and the hub has not given it a letter since: a twin may exist.
    pub fn is_copy(&self) -> bool {
        self.shared.meet().is_some_and(|meet| meet.is_copy)
    }

    /// Whether the next meeting must lead to a new stream, whatever the hub holds. [`Store::fork`] does.
    pub fn must_fork(&self) -> bool {
        self.shared.meet().is_some_and(|meet| meet.must_fork)
    }

    /// What stands in the numbers printed now: provisional in a new stream, until the hub has granted it a letter.
    pub fn tag(&self) -> Tag {
        self.shared.tag()
    }

    /// The hub has granted the present stream its letter, which [`Store::adopt_letter`] kept: numbers carry it, durably.
    pub fn handle_met(&self) -> Result<(), StoreError> {
        if self.shared.meet().is_none() { Ok(()) } else { self.keep(Keep::Met) }
    }

    /// What was salvaged of a damaged file, until people have said that they know.
    pub fn salvage(&self) -> Option<Salvage> {
        self.shared.salvage()
    }

    /// People know what was salvaged. The damaged file and the report stay in the data folder.
    pub fn dismiss_salvage(&self) -> Result<(), StoreError> {
        if self.salvage().is_none() { Ok(()) } else { self.keep(Keep::Dismissal) }
    }

    /// When this program was built: nothing is captured with an earlier time.
    pub fn set_build_time(&self, build: Timestamp) {
        self.shared.timepiece().set_build(build);
    }

    /// The hub told its time: nothing is captured with an earlier one. `offset_ms`: this clock minus the hub's, where they
    /// were compared. It reaches the disk within seconds.
    pub fn handle_compared(&self, hub: Timestamp, offset_ms: Option<i64>) {
        self.shared.timepiece().handle_compared(hub, offset_ms);
        if self.shared.note_hub_time() {
            // A full queue wakes the writer all the same.
            let _ = self.calls.requests.try_send(Request::Progressed);
        }
    }

    /// The clock was read. A step since its last reading becomes an entry, durably, before this returns; true then.
    pub fn observe_clock(&self, at: At) -> Result<bool, CaptureError> {
        {
            let mut timepiece = self.shared.timepiece();
            if timepiece.step(at).is_none() {
                timepiece.handle_read(at);
                return Ok(false);
            }
        }
        self.ask(|reply| Request::ClockRead { at, reply })?
    }

    /// Steps of the clock since opening.
    pub fn clock_steps(&self) -> u64 {
        self.shared.timepiece().steps()
    }

    /// What the clock is worth when it reads `now`.
    pub fn clock_quality(&self, now: Timestamp) -> ClockQuality {
        self.shared.timepiece().quality(now)
    }

    /// Nothing is captured with an earlier time: the build's, or the hub's as last told.
    pub fn clock_floor(&self) -> Timestamp {
        self.shared.timepiece().floor()
    }

    /// Bytes free on the store's disk.
    pub fn disk_free(&self) -> Result<u64, StoreError> {
        self.shared.disk_free()
    }

    /// Whether captures are refused because the disk is full, or nearly.
    pub fn is_short_of_room(&self) -> bool {
        self.shared.is_short()
    }

    /// What was done since opening.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Writes the cache, closes the file and gives the folder back. Later calls fail. Dropping the last clone does the
    /// same.
    pub fn close(&self) {
        self.calls.close();
    }

    fn seqs(&self, id: DocId) -> Result<Vec<Seq>, StoreError> {
        Ok(self.held(id)?.map_or_else(Vec::new, |held| held.seqs.clone()))
    }

    fn held(&self, id: DocId) -> Result<Option<Arc<Held>>, StoreError> {
        if let Some(held) = self.shared.overlay().documents.get(&id) {
            return Ok(Some(Arc::clone(held)));
        }
        Ok(Snapshot::open(&*self.shared.database()?)?.held(id)?.map(Arc::new))
    }

    /// Has the writer do what it does when nobody waits, and waits for it.
    #[cfg(test)]
    pub(crate) fn rest(&self) {
        let _ = self.ask(|reply| Request::Rest { reply });
    }

    fn keep(&self, what: Keep) -> Result<(), StoreError> {
        self.ask(|reply| Request::Keep { what, reply })?
    }

    /// Asks the writer and waits for its answer.
    fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.calls.requests.send(request(reply)).map_err(|_| StoreError::Closed)?;
        self.calls.writer.take_turn();
        answer.recv().map_err(|_| StoreError::Closed)
    }
}

impl Calls {
    fn close(&self) {
        let thread = match &self.writer {
            Writer::Thread(thread) => thread,
            Writer::InPlace(_) => return self.writer.finish(),
        };
        let writer = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        // Where nobody receives any more, the writer has stopped already.
        let _ = self.requests.send(Request::Close);
        if writer.join().is_err() {
            tracing::error!("the store's writer had panicked");
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.close();
    }
}
