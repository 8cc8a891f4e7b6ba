//! The writer thread: the only one that changes the database while the hub runs.
//!
//! A reply leaves, a counter moves and readers are told only after the commit. After a failed commit nothing is
//! acknowledged, what was in memory is forgotten, and the connection is opened anew before the next write.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::connection::{BUSY, open_writer};
use super::lane::{self, Lanes};
use super::queue::Work;
use super::room::Disk;
use super::{Retention, Shared, StoreError};
use super::{letters, line};
use crate::apply::{self, Slice, Step};
use crate::clock;
use crate::ingest::{self, Incoming, Reply};
use waystation_protocol::plant::{Plant, is_planted};

/// After a failure the disk gets a moment; agents resend meanwhile.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    conn: Option<Connection>,
    dir: PathBuf,
    /// What it looks after; a visitor and a simulation look after none.
    disk: Option<Disk>,
    /// Whether nothing new is taken for want of room.
    is_short: bool,
    retention: Retention,
    lanes: Lanes,
    /// Whether a letter was granted that is not written beside the database yet.
    owes_letters: bool,
    /// The newest generation of slices of which one failed: the others stand on it and are refused.
    failed_generation: Option<u64>,
    after_failure: Duration,
    shared: Arc<Shared>,
}

/// Starts the writer on its connection.
pub(super) fn spawn(
    conn: Connection,
    dir: PathBuf,
    disk: Option<Disk>,
    retention: Retention,
    shared: Arc<Shared>,
) -> std::io::Result<JoinHandle<()>> {
    let mut writer = Writer::new(conn, dir, retention, AFTER_FAILURE, shared);
    writer.disk = disk;
    writer.look_at_the_disk();
    std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run())
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        dir: PathBuf,
        retention: Retention,
        after_failure: Duration,
        shared: Arc<Shared>,
    ) -> Writer {
        let lanes = Lanes::default();
        let conn = Some(conn);
        Writer {
            conn,
            dir,
            disk: None,
            is_short: false,
            retention,
            lanes,
            owes_letters: false,
            failed_generation: None,
            after_failure,
            shared,
        }
    }

    fn run(&mut self) {
        loop {
            match self.shared.queues.next() {
                Work::Store(group) => self.store(group),
                Work::Apply(slice) => self.apply(*slice),
                Work::Run(command) => {
                    match self.connection() {
                        Ok(conn) => command(conn),
                        // dropping the job tells its caller that nothing was done
                        Err(error) => tracing::error!(%error, "could not open the database again"),
                    }
                    // a job may move what lanes remember
                    self.lanes.clear();
                    self.tell_readers();
                }
                Work::Stop => return self.fold_log(),
            }
        }
    }

    /// Runs a job in a transaction of its own, where no thread serves the queues.
    pub(super) fn run_here<T>(
        &mut self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = job(&tx)?;
        tx.commit()?;
        self.lanes.clear();
        Ok(value)
    }

    /// Leaves an empty write-ahead log: an old one beside a database put in place by hand would ruin it, and on a full
    /// disk its room is wanted.
    fn fold_log(&self) {
        let Some(conn) = &self.conn else { return };
        let folded = conn
            .busy_timeout(Duration::from_secs(1))
            .and_then(|()| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)))
            .and_then(|is_busy| conn.busy_timeout(BUSY).map(|()| is_busy));
        if !matches!(folded, Ok(0)) {
            tracing::debug!(?folded, "the write-ahead log could not be emptied");
        }
    }

    pub(super) fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        if self.conn.is_none() {
            self.conn = Some(open_writer(&self.dir)?);
        }
        Ok(self.conn.as_mut().expect("it was there or has just been opened"))
    }

    /// Notices that the disk ran short of room, or has room again.
    fn look_at_the_disk(&mut self) {
        let Some(disk) = &self.disk else { return };
        let is_short = match disk.room() {
            Ok(room) => room.is_short(),
            Err(error) => {
                tracing::warn!(%error, "the room on the disk is not known");
                return;
            }
        };
        if is_short {
            if !self.is_short {
                tracing::error!(dir = %self.dir.display(), "the disk is short of room: nothing new is taken until there is more");
            }
            self.is_short = true;
            return self.fold_log();
        }
        if self.is_short {
            tracing::info!("the disk has room again");
        }
        self.is_short = false;
        if let Err(error) = disk.occupy_reserve() {
            tracing::warn!(%error, "no reserve could be occupied");
        }
    }

    pub(super) fn store(&mut self, group: Vec<Incoming>) {
        let wire_bytes: usize = group.iter().map(|incoming| incoming.wire_bytes).sum();
        self.look_at_the_disk();
        if self.is_short {
            self.shared.counters.frames_put_off.add(group.len() as u64);
            self.shared.counters.queued_bytes.sub(wire_bytes as u64);
            return;
        }
        match self.try_store(&group) {
            Ok(outcome) => {
                outcome.count(&self.shared.counters);
                self.shared.counters.commits_stored.one();
                self.shared.counters.queued_bytes.sub(wire_bytes as u64);
                self.owes_letters |= outcome.is_granted;
                self.keep_letters();
                self.shared.mailbox.tell_stored(&outcome.grown, outcome.is_filled);
                self.reply(outcome.replies);
                self.tell_readers();
            }
            Err(error) => {
                self.failed(&error, "received frames were not stored; their agents will resend");
                self.shared.counters.queued_bytes.sub(wire_bytes as u64);
            }
        }
    }

    /// A letter that is told must outlive a restore of the database.
    fn keep_letters(&mut self) {
        let Some(conn) = self.conn.as_ref().filter(|_| self.owes_letters) else { return };
        match letters::all(conn).and_then(|grants| letters::write(&self.dir, &grants)) {
            Ok(()) => self.owes_letters = false,
            Err(error) => tracing::error!(%error, "a granted letter is not written beside the database; trying again"),
        }
    }

    fn try_store(&mut self, group: &[Incoming]) -> Result<ingest::Outcome, StoreError> {
        self.connection()?;
        let Writer { conn: Some(conn), lanes, retention, .. } = self else { return Err(StoreError::Closed) };
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = ingest::store_group(&tx, lanes, group, *retention)?;
        match tx.commit() {
            Err(_) if is_planted(Plant::AckBeforeCommit) => Ok(outcome),
            committed => committed.map(|()| outcome).map_err(StoreError::from),
        }
    }

    pub(super) fn apply(&mut self, slice: Slice) {
        self.look_at_the_disk();
        let has_failed = self.failed_generation.is_some_and(|failed| slice.generation <= failed);
        if has_failed {
            self.shared.mailbox.tell_applied(false);
            return;
        }
        match self.try_apply(&slice) {
            Ok(()) => {
                slice.count(&self.shared.counters);
                self.shared.counters.commits_applied.one();
                let replies = self.note_processed(&slice.processed);
                self.shared.mailbox.tell_applied(true);
                self.reply(replies);
                self.tell_readers();
            }
            Err(error) => {
                self.failed(&error, "processed entries were not committed; they will be processed again");
                if is_planted(Plant::ProcessedBeforeApplied)
                    && let Ok(conn) = self.connection()
                {
                    let moved = |step: &Step| lane::move_processed(conn, step.stream, step.from, step.to).is_ok();
                    slice.processed.iter().all(moved);
                }
                self.failed_generation = Some(slice.generation);
                self.shared.mailbox.tell_applied(false);
            }
        }
    }

    fn try_apply(&mut self, slice: &Slice) -> Result<(), StoreError> {
        let tx = self.connection()?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        apply::write(&tx, slice, clock::now())?;
        for step in &slice.processed {
            lane::move_processed(&tx, step.stream, step.from, step.to)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// An agent whose journal is processed to its end is told: nothing else may come to tell it.
    fn note_processed(&mut self, processed: &[Step]) -> Vec<Reply> {
        let Writer { conn: Some(conn), lanes, .. } = self else { return Vec::new() };
        let told = (|| {
            // replies speak of what one transaction sees
            let tx = conn.transaction()?;
            lanes.begin();
            let mut replies = Vec::new();
            for step in processed {
                let extent = line::of_row(&tx, step.stream)?;
                if step.to == extent.stored.seq && !extent.is_aside {
                    let stream = line::id_of(&tx, step.stream)?;
                    replies.extend(ingest::acknowledge(&tx, lanes, stream, None)?);
                }
            }
            Ok::<_, StoreError>(replies)
        })();
        told.unwrap_or_else(|error| {
            tracing::warn!(%error, "could not acknowledge what was processed");
            Vec::new()
        })
    }

    fn failed(&mut self, error: &StoreError, consequence: &'static str) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(%error, cause, consequence, "commit failed");
        self.shared.counters.commits_failed.one();
        if !is_planted(Plant::KeepLanes) {
            self.lanes.clear();
        }
        self.conn = None;
        if error.is_disk_full()
            && let Some(disk) = &self.disk
        {
            disk.give_up_reserve();
        }
        std::thread::sleep(self.after_failure);
    }

    fn reply(&self, replies: Vec<Reply>) {
        let channel = self.shared.replies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = channel.as_ref() else { return };
        for reply in replies {
            // without a listener the link is down; agents will say HELLO again
            let _ = channel.send(reply);
        }
    }

    fn tell_readers(&self) {
        self.shared.changes.send_modify(|commits| *commits += 1);
    }
}
