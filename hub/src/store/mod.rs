//! The hub's books on SQLite: raw journals, documents, facts, roll-ups and quarantine.
//!
//! One writer thread commits, storing before processing; a second thread folds entries into documents and hands the
//! writer finished slices; readers share a pool and see the last commit. All calls block. `Store` is a handle to clone.

mod backups;
mod beside;
pub(crate) mod branch;
mod case;
pub(crate) mod clock_step;
mod connection;
mod counters;
pub(crate) mod envelope;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod heads;
pub(crate) mod heard;
mod journals;
#[cfg(test)]
mod kept_tests;
pub(crate) mod lane;
pub(crate) mod letters;
pub(crate) mod life;
pub(crate) mod line;
pub(crate) mod lost;
#[cfg(test)]
mod meeting_tests;
pub(crate) mod numbers;
pub(crate) mod presence;
#[cfg(test)]
mod proof_tests;
pub(crate) mod prune;
pub(crate) mod quarantine;
pub(crate) mod queue;
pub(crate) mod raw;
pub(crate) mod reach;
mod read;
mod report;
pub(crate) mod restore;
mod room;
mod rows;
mod scope;
pub(crate) mod session;
#[doc(hidden)]
pub mod stepped;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod traits;
#[cfg(test)]
mod workers_tests;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use ed25519_dalek::VerifyingKey;
use rusqlite::Row;
use tokio::sync::{mpsc as async_mpsc, watch};
use waystation_protocol::chain::{Hash, Seq};
use waystation_protocol::id::AgentId;
use waystation_protocol::room::Room;
use waystation_protocol::site::SiteId;
use waystation_protocol::time;

use crate::apply;
use crate::clock;
use crate::down;
use crate::durable;
use crate::epoch;
use crate::ingest::{Incoming, Keys, Reply};
use crate::rules::Rules;
use connection::Pool;
use queue::{Command, Queues};
use room::Disk;

pub use backups::{CheckedBackup, Retention};
pub use case::{
    Action, Amendment, Ask, AskError, AskedAll, BadPlace, Case, Change, EntryPlace, QuarantineFilter, QuarantinePage,
    QuarantineRow, ReasonText, ResolutionRow, WHY_BYTES,
};
pub use clock_step::ClockStepRow;
pub use counters::{Count, Counters};
pub use error::StoreError;
pub use journals::{Absent, JournalRow};
pub use life::HubIdentity;
pub use lost::LostRange;
pub use restore::{AwaitedAgent, AwaitedStream, Cause, Ending, Owed, RestoreReport};
pub use rows::{
    AgentRow, Filter, Group, HistoryEntry, Only, Page, Rollup, RollupRow, Scope, SiteRow, Sum, Totals, Trace, TracePage,
};
pub use traits::Flag;

pub(crate) use backups::{add as add_backup, ceiling, ceiling_of_backups};
pub(crate) use connection::{DATABASE, open_reader, open_writer};
pub(crate) use read::{document_at, document_of as read_document};

/// Fourteen days: how long an agent keeps what the hub has processed, while no backup is configured.
pub const RETENTION_MS: i64 = 14 * 24 * 60 * 60 * 1000;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hub's identity where the folder is fresh: random bytes.
    pub fresh_id: [u8; 16],
    /// When agents may delete.
    pub retention: Retention,
    /// What the network decided.
    pub rules: Rules,
    /// Opens beside a running hub: may read and add sites, stores and processes nothing.
    pub is_visitor: bool,
}

/// The hub's store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    pool: Pool,
    dir: PathBuf,
    disk: Disk,
    rules: Rules,
    identity: HubIdentity,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held until the store is closed.
    lock: Mutex<Option<File>>,
}

/// What the store's threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queues: Queues,
    pub(crate) mailbox: apply::Mailbox,
    pub(crate) counters: Counters,
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) replies: Mutex<Option<async_mpsc::UnboundedSender<Reply>>>,
}

impl Options {
    /// The usual options, with the given identity for a fresh folder.
    #[must_use]
    pub fn new(fresh_id: [u8; 16]) -> Options {
        let retention = Retention { ms: RETENTION_MS, needs_backup: false };
        Options { fresh_id, retention, rules: Rules::default(), is_visitor: false }
    }
}

impl Store {
    /// Opens the store in `dir`, which is made where it does not exist, and starts its threads.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another hub has it open, [`StoreError::Newer`] if a newer build wrote it, and whatever
    /// the database or the disk say.
    pub fn open(dir: &Path, options: Options) -> Result<Store, StoreError> {
        let disk = Disk::of(dir);
        let is_full = |error: &StoreError| error.is_disk_full() || error.is_of_the_disk() && disk.is_out();
        match Store::open_once(dir, &options) {
            Err(error) if !options.is_visitor && is_full(&error) && disk.give_up_reserve() => {
                tracing::warn!(%error, "the disk is full: the reserve is given up");
                Store::open_once(dir, &options)
            }
            opened => opened,
        }
        .map_err(|error| if is_full(&error) { StoreError::DiskFull { dir: dir.to_owned() } } else { error })
    }

    fn open_once(dir: &Path, options: &Options) -> Result<Store, StoreError> {
        let failed = |source| StoreError::Folder { dir: dir.to_owned(), source };
        durable::ensure_folder(dir).map_err(failed)?;
        let lock = if options.is_visitor { None } else { Some(lock(dir)?) };
        if !options.is_visitor && crate::backup::is_cut_off(dir) {
            return Err(StoreError::RestoreCutOff { dir: dir.to_owned() });
        }
        let mut conn = connection::open_writer(dir)?;
        let identity = if options.is_visitor {
            life::visit(&conn, &options.fresh_id)?
        } else {
            life::wake(&mut conn, dir, &options.fresh_id, clock::now())?
        };
        if !options.is_visitor {
            apply::recount::recount(&mut conn)?;
            let keys = Keys::new(pinned_keys(&conn)?, None);
            envelope::take_up(&mut conn, &keys, options.retention)?;
        }
        let shared = Arc::new(Shared {
            queues: Queues::default(),
            mailbox: apply::Mailbox::default(),
            counters: Counters::default(),
            changes: watch::Sender::new(0),
            replies: Mutex::new(None),
        });
        let disk = Disk::of(dir);
        let own_disk = (!options.is_visitor).then(|| disk.clone());
        let writer = writer::spawn(conn, dir.to_owned(), own_disk, options.retention, shared.clone());
        let mut threads = vec![writer.map_err(failed)?];
        if options.is_visitor {
            shared.mailbox.stop();
        } else {
            threads.push(apply::spawn(dir.to_owned(), shared.clone()).map_err(failed)?);
        }
        let (threads, lock) = (Mutex::new(threads), Mutex::new(lock));
        let (pool, dir, rules) = (Pool::new(dir), dir.to_owned(), options.rules.clone());
        let inner = Inner { shared, pool, dir, disk, rules, identity, threads, lock };
        Ok(Store { inner: Arc::new(inner) })
    }

    /// Which hub this is.
    #[must_use]
    pub fn identity(&self) -> HubIdentity {
        self.inner.identity
    }

    /// What is counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.shared.counters
    }

    /// The room on the disk of the data folder, the reserve counted as occupied.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn room(&self) -> Result<Room, StoreError> {
        self.inner.disk.room().map_err(|source| StoreError::Folder { dir: self.inner.dir.clone(), source })
    }

    /// Changes after each commit.
    #[must_use]
    pub fn watch_changes(&self) -> watch::Receiver<u64> {
        self.inner.shared.changes.subscribe()
    }

    /// Replies flow into the returned channel from now on, each after the commit it speaks of.
    #[must_use]
    pub fn replies(&self) -> async_mpsc::UnboundedReceiver<Reply> {
        let (sender, receiver) = async_mpsc::unbounded_channel();
        *self.inner.shared.replies.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Queues a verified message for the next commit. Blocks while too much is queued.
    pub fn submit(&self, incoming: Incoming) {
        self.inner.shared.queues.push_message(incoming);
    }

    /// HELLOs that wait for the writer.
    pub(crate) fn hellos_waiting(&self) -> usize {
        self.inner.shared.queues.hellos()
    }

    /// Answers what never reached the writer.
    pub(crate) fn reply(&self, reply: Reply) {
        if let Some(replies) = &*self.inner.shared.replies.lock().unwrap_or_else(PoisonError::into_inner) {
            // without a receiver the link is stopping
            let _ = replies.send(reply);
        }
    }

    /// The pinned keys of all agents.
    ///
    /// # Errors
    ///
    /// The database fails, or a key in it is none.
    pub fn keys(&self) -> Result<Vec<(AgentId, VerifyingKey)>, StoreError> {
        pinned_keys(&*self.inner.pool.lend()?)
    }

    /// Adds a site, or changes its name and zone; an empty `zone` stands for the default.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadZone`], or the database fails.
    pub fn add_site(&self, site: &SiteId, name: &str, zone: &str) -> Result<(), StoreError> {
        let zone = Some(zone.to_owned()).filter(|zone| !zone.is_empty());
        if let Some(zone) = &zone {
            time::zone(zone).map_err(|_| StoreError::BadZone(zone.clone()))?;
        }
        let (site, name) = (site.clone(), name.to_owned());
        self.command(Box::new(move |conn| read::put_site(conn, &site, &name, zone.as_deref())))
    }

    /// Drops documents, facts, roll-ups and quarantine, and derives them again from the raw journals; `progress` is
    /// told entries done and entries in all. What stands still because the hub came back older is left so. An interrupted rebuild goes on at the next start.
    ///
    /// # Errors
    ///
    /// The database fails, or a stored journal is damaged.
    pub fn rebuild(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let mut changes = self.watch_changes();
        self.inner.shared.mailbox.request_rebuild()?;
        loop {
            changes.mark_unchanged();
            let totals = self.totals()?;
            progress(totals.processed, totals.stored);
            if totals.processed + self.held_entries()? >= totals.stored {
                return Ok(());
            }
            if let Some(damage) = self.damage()? {
                return Err(StoreError::Damaged(damage));
            }
            self.inner.shared.queues.wait_for_change(&mut changes)?;
        }
    }

    fn held_entries(&self) -> Result<u64, StoreError> {
        down::freeze::held_entries(&*self.reader()?)
    }

    /// Writes beside the database how far every journal goes, so that an older database put in its place is noticed
    /// and what it lacks is known by name.
    ///
    /// # Errors
    ///
    /// The database or the disk fails.
    pub fn keep_heads(&self) -> Result<(), StoreError> {
        let heads = heads::gather(&*self.inner.pool.lend()?)?;
        heads::write(&self.inner.dir, &heads)
    }

    /// Finishes what is queued, and waits for the threads. Later calls that write fail with [`StoreError::Closed`].
    pub fn close(&self) {
        self.inner.close();
    }

    /// The data folder, and the network's rules.
    pub(crate) fn office(&self) -> (PathBuf, Rules) {
        (self.inner.dir.clone(), self.inner.rules.clone())
    }

    /// A connection that reads.
    pub(crate) fn reader(&self) -> Result<connection::Lent<'_>, StoreError> {
        self.inner.pool.lend()
    }

    /// Journals of the hub's own grew: rows and stored seqs.
    pub(crate) fn tell_stored(&self, grown: &[(i64, Seq)]) {
        self.inner.shared.mailbox.tell_stored(grown, false);
    }

    /// Waits until something was committed, or a moment passed.
    pub(crate) fn wait_for_change(&self, changes: &mut watch::Receiver<u64>) -> Result<(), StoreError> {
        self.inner.shared.queues.wait_for_change(changes)
    }

    pub(crate) fn command<T: Send + 'static>(&self, job: Job<T>) -> Result<T, StoreError> {
        run_on_writer(&self.inner.shared.queues, job)
    }
}

fn pinned_keys(conn: &rusqlite::Connection) -> Result<Vec<(AgentId, VerifyingKey)>, StoreError> {
    let mut statement = conn.prepare("SELECT agent, public_key FROM agent WHERE is_hub = 0")?;
    let rows = statement.query_map([], |row| Ok((AgentId::from_bytes(array_at(row, 0)?), array_at::<32>(row, 1)?)))?;
    rows.map(|row| {
        let (agent, key) = row?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| StoreError::damaged("a public key is none"))?;
        Ok((agent, key))
    })
    .collect()
}

/// Work for the writer, in a transaction of its own.
pub(crate) type Job<T> = Box<dyn FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send>;

/// Runs a job on the writer thread and waits for its commit.
pub(crate) fn run_on_writer<T: Send + 'static>(queues: &Queues, job: Job<T>) -> Result<T, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let command: Command = Box::new(move |conn| {
        let done = (|| {
            let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let value = job(&tx)?;
            tx.commit()?;
            Ok(value)
        })();
        // the caller waits for it, or its thread is gone and nobody wants the answer
        let _ = sender.send(done);
    });
    queues.push_command(command)?;
    receiver.recv().map_err(|_| StoreError::Closed)?
}

impl Inner {
    fn close(&self) {
        self.shared.mailbox.stop();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        // the applier first: its last slices still need the writer
        while let Some(thread) = threads.pop() {
            if threads.is_empty() {
                self.end_turn();
                self.shared.queues.stop();
            }
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        // said aloud: a child that is being started at this moment holds the file, too, until it runs its own program
        if let Some(Err(error)) = lock.map(|file| file.unlock()) {
            tracing::warn!(%error, "the folder's lock is let go as its file closes");
        }
    }

    /// A hub that ends without this is noticed at the next start only by its heads.
    fn end_turn(&self) {
        if self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return;
        }
        let dir = self.dir.clone();
        let ended = run_on_writer(&self.shared.queues, Box::new(move |conn| life::rest(conn, &dir)));
        let ended = ended.and_then(|stamp| Ok(epoch::write(&self.dir, stamp)?));
        if let Err(error) = ended {
            tracing::warn!(%error, "the end of this turn was not written down");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// One hub per folder.
pub(crate) fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Folder { dir: dir.to_owned(), source };
    let file = File::create(dir.join("hub.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A seq as a column; hostile ones beyond 63 bits become the largest.
pub(crate) fn int(seq: Seq) -> i64 {
    count(seq.0)
}

/// A count as a column; those beyond 63 bits become the largest.
pub(crate) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A seq from a column.
pub(crate) fn seq_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get::<_, i64>(column).map(|seq| Seq(seq.max(0).unsigned_abs()))
}

/// A hash from a column.
pub(crate) fn hash_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    array_at(row, column).map(Hash::from_bytes)
}

/// Bytes of fixed length from a column.
pub(crate) fn array_at<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    row.get::<_, [u8; N]>(column)
}
