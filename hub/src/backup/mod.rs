//! Backups of the hub, and putting one back.
//!
//! A backup is a folder with the database, the hub's key, a manifest and the files' digests. It counts only once it was
//! opened and checked: every file's digest, SQLite's own check, and every journal's chain recomputed to its stored mark.
//! Only then may agents delete what it covers. Folders are written under another name and renamed when they are whole.

mod check;
mod copy;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use waystation_protocol::time::Timestamp;

use crate::durable;
use crate::epoch::EpochError;
use crate::keys::KeyError;
use crate::store::{CheckedBackup, DATABASE, Store, StoreError};

pub use check::check;
pub use manifest::{Journal, Manifest};
pub(crate) use restore::is_cut_off;
pub use restore::{Restored, restore};

/// What ends the name of a folder that is not whole; such folders are passed over.
const UNFINISHED: &str = ".unfinished";

/// Names tried for backups of the same minute.
const NAMES: usize = 100;

/// What long work does right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Copies pages or bytes.
    Copy,
    /// Computes digests, in bytes.
    Digest,
    /// Asks SQLite to check the database; it tells no progress.
    Integrity,
    /// Recomputes chains, in entries.
    Chains,
}

/// Told what is done, how much of it, and how much there is.
pub type Progress<'a> = &'a mut dyn FnMut(Step, u64, u64);

/// A backup that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its folder.
    pub folder: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// Folders beside it that a crash left unfinished; they may be removed.
    pub leftovers: Vec<PathBuf>,
}

/// Why a backup was not taken or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to back up.
    #[error("{dir} holds no hub: name its folder with --data")]
    NoHub {
        /// The data folder.
        dir: PathBuf,
    },
    /// The disk of a folder is full.
    #[error("the disk of {dir} is full; nothing was changed, make room and try again")]
    DiskFull {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("could not {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Every name of this minute is taken.
    #[error("{dir} already holds {NAMES} backups of this minute")]
    NoName {
        /// The folder of backups.
        dir: PathBuf,
    },
    /// A folder is no finished backup.
    #[error("{folder} is no backup: {reason}")]
    NotABackup {
        /// Which folder.
        folder: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A backup is not what was written.
    #[error("backup {folder} is damaged: {reason}")]
    Damaged {
        /// Which folder.
        folder: PathBuf,
        /// What is wrong where.
        reason: String,
    },
    /// The data folder already holds a hub.
    #[error("{dir} already holds a hub; with --replace its files are kept aside in that folder, never deleted")]
    Occupied {
        /// The data folder.
        dir: PathBuf,
    },
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The epoch's file.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A database.
    #[error("the database failed")]
    Sql(#[from] rusqlite::Error),
}

impl BackupError {
    fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> BackupError + use<> {
        let path = path.to_owned();
        move |source| BackupError::Io { action, path: path.clone(), source }
    }

    fn damaged(folder: &Path, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged { folder: folder.to_owned(), reason: reason.into() }
    }

    fn is_disk_full(&self) -> bool {
        let is_full = |source: &std::io::Error| source.kind() == std::io::ErrorKind::StorageFull;
        match self {
            BackupError::Io { source, .. }
            | BackupError::Key(KeyError::Io { source, .. })
            | BackupError::Epoch(EpochError::Io { source, .. }) => is_full(source),
            BackupError::Store(error) => error.is_disk_full(),
            BackupError::Sql(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            BackupError::DiskFull { .. } => true,
            BackupError::NoHub { .. }
            | BackupError::NoName { .. }
            | BackupError::NotABackup { .. }
            | BackupError::Damaged { .. }
            | BackupError::Occupied { .. }
            | BackupError::Key(KeyError::Damaged { .. })
            | BackupError::Epoch(EpochError::Damaged { .. }) => false,
        }
    }

    /// The same error, with a full disk said plainly.
    fn on_disk_of(self, dir: &Path) -> BackupError {
        if self.is_disk_full() { BackupError::DiskFull { dir: dir.to_owned() } } else { self }
    }
}

/// Backs up the hub in `data`, which may be running, into a new folder of `target`, checks it, and tells the hub.
///
/// # Errors
///
/// Nothing is left behind and no prunable mark moves; the message says what is wrong.
pub fn take(data: &Path, target: &Path, now: Timestamp, progress: Progress<'_>) -> Result<Taken, BackupError> {
    if !data.join(DATABASE).exists() {
        return Err(BackupError::NoHub { dir: data.to_owned() });
    }
    let leftovers = leftovers(target);
    let (unfinished, folder) = new_folder(target, now)?;
    let written = copy::write(data, &unfinished, now, progress)
        .and_then(|()| check::check(&unfinished, progress))
        .and_then(|manifest| {
            std::fs::rename(&unfinished, &folder).map_err(BackupError::io("name", &folder))?;
            durable::sync_folder(target).map_err(BackupError::io("sync", target))?;
            Ok(manifest)
        });
    match written {
        Ok(manifest) => Ok(Taken { folder, manifest, leftovers }),
        Err(error) => {
            // what is not whole must not fill the disk; if even that fails, its name says that it does not count
            let _ = std::fs::remove_dir_all(&unfinished);
            Err(error.on_disk_of(target))
        }
    }
}

/// Tells the hub's books, beside a running hub, that a backup was taken and checked.
///
/// # Errors
///
/// The hub came back older meanwhile, or its database fails.
pub fn register(store: &Store, taken: &Taken, checked_at: Timestamp) -> Result<(), BackupError> {
    Ok(store.add_backup(taken.manifest.as_checked(&taken.folder, checked_at))?)
}

impl Manifest {
    pub(crate) fn as_checked(&self, folder: &Path, checked_at: Timestamp) -> CheckedBackup {
        CheckedBackup {
            taken_at: self.at(),
            checked_at,
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).display().to_string(),
            epoch: self.epoch,
            entries: self.entries,
            bytes: self.database_bytes,
            streams: self.journals.iter().chain(&self.down).map(|journal| (journal.stream, journal.stored())).collect(),
        }
    }
}

/// A fresh folder under its unfinished name, and the name it gets in the end: `2026-11-23T0830Z`.
fn new_folder(target: &Path, now: Timestamp) -> Result<(PathBuf, PathBuf), BackupError> {
    let minute = minute_name(now);
    for n in 1..=NAMES {
        let name = if n == 1 { minute.clone() } else { format!("{minute}-{n}") };
        let (folder, unfinished) = (target.join(&name), target.join(format!("{name}{UNFINISHED}")));
        if folder.exists() {
            continue;
        }
        match durable::create_folder(&unfinished) {
            Ok(()) => return Ok((unfinished, folder)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BackupError::io("make folder", &unfinished)(error).on_disk_of(target)),
        }
    }
    Err(BackupError::NoName { dir: target.to_owned() })
}

/// `2026-11-23T0830Z`: sorts by time, and every file system takes it.
fn minute_name(now: Timestamp) -> String {
    now.civil(&jiff::tz::TimeZone::UTC).strftime("%Y-%m-%dT%H%MZ").to_string()
}

fn leftovers(target: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(target) else { return Vec::new() };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = paths.filter(|path| is_unfinished(path)).collect();
    found.sort();
    found
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(UNFINISHED))
}
