//! The hub's side: a folder, the hub on it while it runs, and its backups.
//!
//! The database is a file in memory. A crash drops the hub between two of its steps; what was committed stays.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use waystation_hub::ingest::{Incoming, Upward};
use waystation_hub::store::stepped::Stepped;
use waystation_hub::store::{Options, Retention};
use waystation_protocol::id::AgentId;
use waystation_protocol::time::{Tick, Timestamp};

use crate::chance::Chance;
use crate::device::describe;
use crate::violation::{Violation, broken};

/// How long agents keep what is processed: fourteen days.
pub(crate) const RETENTION_MS: i64 = 14 * 24 * 3_600_000;
/// Bytes an agent may have in flight.
const CREDIT: u64 = 1 << 20;
/// What stands in a hub's folder.
const FILES: [&str; 5] = ["hub.sqlite", "hub.epoch", "hub.key", "hub.heads", "hub.letters"];

/// The hub and what is around it.
pub(crate) struct Hub {
    folder: PathBuf,
    /// What is older, and processed, agents may delete.
    pub(crate) retention_ms: i64,
    /// The hub, while it runs: the first worker, which also processes, then others.
    pub(crate) workers: Vec<Stepped>,
    /// Verified frames waiting for their commit, by worker.
    pub(crate) inbox: Vec<Vec<Incoming>>,
    /// Whether something may be left to process.
    pub(crate) is_due: bool,
    /// Copies of the database, put aside, and how often the hub had started then.
    pub(crate) copies: Vec<(PathBuf, u64)>,
    /// Backups taken.
    pub(crate) backups: Vec<PathBuf>,
    starts: u64,
    epoch: u64,
    /// An older database was put in place: the hub must notice.
    came_back_older: bool,
}

/// How a commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As it should.
    Well,
    /// It fails.
    Fails,
    /// The hub is killed before it.
    KilledBefore,
    /// The hub is killed after it, before it answered.
    KilledAfter,
}

/// A fresh hub's files, made once.
pub(crate) fn template(folder: &Path) -> Result<(), Violation> {
    prepare(folder)?;
    let key = [9; 32];
    std::fs::write(folder.join("hub.key"), key).map_err(|error| broken("harness", error.to_string()))?;
    drop(open(folder, RETENTION_MS, false, 0)?);
    Ok(())
}

/// An empty folder: what an earlier run left in its place is gone.
pub(crate) fn prepare(folder: &Path) -> Result<(), Violation> {
    let made = std::fs::remove_dir_all(folder)
        .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) });
    let made = made.and_then(|()| std::fs::create_dir_all(folder));
    made.map_err(|error| broken("harness", format!("cannot empty {}: {error}", folder.display())))
}

fn open(folder: &Path, retention_ms: i64, is_visitor: bool, wall: i64) -> Result<Stepped, Violation> {
    let retention = Retention { ms: retention_ms, needs_backup: false };
    let options = Options { retention, is_visitor, ..Options::new([8; 16]) };
    let opened = Stepped::open(folder, &options, SigningKey::from_bytes(&[9; 32]), Timestamp(wall));
    opened.map_err(|error| broken("liveness", format!("the hub does not start: {}", describe(&error))))
}

impl Hub {
    /// A fresh hub in `folder`, made of the template's files.
    pub(crate) fn new(template: &Path, folder: &Path, retention_ms: i64) -> Result<Hub, Violation> {
        prepare(folder)?;
        copy_files(template, folder)?;
        let (workers, inbox) = (Vec::new(), Vec::new());
        Ok(Hub {
            folder: folder.to_owned(),
            retention_ms,
            workers,
            inbox,
            is_due: true,
            copies: Vec::new(),
            backups: Vec::new(),
            starts: 0,
            epoch: 0,
            came_back_older: false,
        })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it with so many workers, if it does not run.
    pub(crate) fn start(&mut self, workers: usize, wall: i64) -> Result<(), Violation> {
        if self.workers.is_empty() {
            for number in 0..workers.max(1) {
                self.workers.push(open(&self.folder, self.retention_ms, number > 0, wall)?);
            }
            self.inbox = (0..workers.max(1)).map(|_| Vec::new()).collect();
            self.is_due = true;
            self.starts += 1;
            let epoch = self.workers[0].identity().epoch;
            if std::mem::take(&mut self.came_back_older) && epoch <= self.epoch {
                return Err(broken("I9", "the hub came back older and its epoch did not rise"));
            }
            self.epoch = epoch;
        }
        Ok(())
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.workers.clear();
        self.inbox.clear();
    }

    /// A frame arrives. Whether it is believed.
    pub(crate) fn take(&mut self, agent: AgentId, bytes: &[u8], wall: i64, chance: &mut Chance) -> bool {
        if self.workers.is_empty() {
            return false;
        }
        let worker = usize::try_from(chance.below(self.workers.len() as u64)).expect("workers are few");
        match self.workers[worker].verify(agent, bytes, Timestamp(wall)) {
            Ok(incoming) => {
                // the heartbeat of an agent the hub does not know is answered and believed in nothing
                let is_believed = !matches!(incoming.message, Upward::Stranger(_));
                self.inbox[worker].push(incoming);
                is_believed
            }
            Err(_) => false,
        }
    }

    /// Whether a frame waits.
    pub(crate) fn has_mail(&self) -> bool {
        self.inbox.iter().any(|inbox| !inbox.is_empty())
    }

    /// Every worker commits what waits for it; gives the frames they answer with.
    pub(crate) fn store(&mut self, fate: Fate, wall: i64) -> Result<Vec<(AgentId, Vec<u8>)>, Violation> {
        let mut frames = Vec::new();
        for number in 0..self.workers.len() {
            let group = std::mem::take(&mut self.inbox[number]);
            if group.is_empty() {
                continue;
            }
            let worker = &mut self.workers[number];
            if matches!(fate, Fate::Fails | Fate::KilledBefore) {
                worker.fail_next_commit().map_err(|error| broken("liveness", describe(&error)))?;
            }
            worker.store(group);
            worker.mend_commits().map_err(|error| broken("liveness", describe(&error)))?;
            let answers = worker.frames(CREDIT, Timestamp(wall), Tick(u64::try_from(wall).unwrap_or(0)));
            if fate != Fate::KilledAfter {
                frames.extend(answers);
            }
            if number > 0 {
                self.workers[0].restart();
            }
        }
        self.is_due = true;
        if matches!(fate, Fate::KilledBefore | Fate::KilledAfter) {
            self.kill();
        }
        Ok(frames)
    }

    /// Builds or applies a slice; gives the frames that follow.
    pub(crate) fn process(
        &mut self,
        fate: Fate,
        wall: i64,
        chance: &mut Chance,
    ) -> Result<Vec<(AgentId, Vec<u8>)>, Violation> {
        let Some(worker) = self.workers.first_mut() else { return Ok(Vec::new()) };
        let built = worker.build().map_err(|error| broken("I1", format!("processing fails: {}", describe(&error))))?;
        let must_apply = !built || chance.percent(60);
        if must_apply && matches!(fate, Fate::Fails | Fate::KilledBefore) {
            worker.fail_next_commit().map_err(|error| broken("liveness", describe(&error)))?;
        }
        let applied = must_apply && worker.apply();
        worker.mend_commits().map_err(|error| broken("liveness", describe(&error)))?;
        let frames = worker.frames(CREDIT, Timestamp(wall), Tick(u64::try_from(wall).unwrap_or(0)));
        self.is_due = built || applied;
        if must_apply && matches!(fate, Fate::KilledBefore | Fate::KilledAfter) {
            self.kill();
            return Ok(Vec::new());
        }
        Ok(frames)
    }

    /// What the hub does every minute.
    pub(crate) fn keep_heads(&mut self) {
        if let Some(worker) = self.workers.first_mut() {
            // a disk that fails here fails the next commit too
            let _ = worker.keep_heads();
        }
    }

    /// Ends it as it should end.
    pub(crate) fn end(&mut self) -> Result<(), Violation> {
        if self.workers.is_empty() {
            return Ok(());
        }
        let first = self.workers.remove(0);
        self.kill();
        first.rest().map_err(|error| broken("liveness", format!("the hub does not end: {}", describe(&error))))
    }

    /// Takes a backup, if the hub runs; gives its folder.
    pub(crate) fn back_up(&mut self, wall: i64) -> Result<Option<PathBuf>, Violation> {
        let target = self.folder.with_extension("backups");
        if self.backups.is_empty() {
            prepare(&target)?;
        }
        let Some(worker) = self.workers.first_mut() else { return Ok(None) };
        let taken = worker.back_up(&target, Timestamp(wall));
        let taken = taken.map_err(|error| broken("liveness", format!("no backup: {}", describe(&error))))?;
        self.backups.push(taken.folder.clone());
        Ok(Some(taken.folder))
    }

    /// The tool puts a backup in place.
    pub(crate) fn restore(&mut self, backup: usize, wall: i64) -> Result<(), Violation> {
        self.kill();
        let folder = &self.backups[backup];
        let restored = waystation_hub::backup::restore(folder, &self.folder, true, Timestamp(wall), &mut |_, _, _| {});
        let restored = restored.map_err(|error| broken("liveness", format!("no restore: {}", describe(&error))))?;
        self.came_back_older = true;
        if restored.epoch <= self.epoch { Err(broken("I9", "a restore does not raise the epoch")) } else { Ok(()) }
    }

    /// Ops waits no longer for what a restore still misses. Whether anything was awaited.
    pub(crate) fn release(&mut self, wall: i64) -> bool {
        let released = self.workers.first_mut().is_some_and(|worker| worker.release_restore(Timestamp(wall)).is_ok());
        self.is_due |= released;
        released
    }

    /// Puts a copy of the database aside, as it is now.
    pub(crate) fn copy(&mut self) -> Result<(), Violation> {
        self.kill();
        fold_log(&self.folder)?;
        let copy = self.folder.with_extension(format!("copy{}", self.copies.len()));
        prepare(&copy)?;
        copy_files(&self.folder, &copy)?;
        self.copies.push((copy, self.starts));
        Ok(())
    }

    /// Somebody puts a copy of the database in place by hand: the files beside it stay.
    pub(crate) fn put_back(&mut self, copy: usize) -> Result<(), Violation> {
        self.kill();
        // the log of the newer database must not stay beside the older one
        fold_log(&self.folder)?;
        let (copy, starts) = &self.copies[copy];
        self.came_back_older = self.starts > *starts;
        let from = copy.join("hub.sqlite");
        let done = std::fs::copy(from, self.folder.join("hub.sqlite"));
        done.map(drop).map_err(|error| broken("harness", error.to_string()))
    }
}

/// Leaves nothing in the write-ahead log.
fn fold_log(folder: &Path) -> Result<(), Violation> {
    let conn = rusqlite::Connection::open(folder.join("hub.sqlite")).map_err(crate::oracle::sql)?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(crate::oracle::sql)
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Violation> {
    for name in FILES {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).map_err(|error| broken("harness", error.to_string()))?;
        }
    }
    Ok(())
}
