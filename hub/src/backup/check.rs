//! Opening a backup and checking all of it: nothing bounded, because agents delete their copies on its word.

use std::path::Path;

use super::manifest::{self, Journal, MANIFEST, Manifest, SUMS, not_whole};
use super::{BackupError, Progress, Step};
use crate::down;
use crate::keys;
use crate::store::{DATABASE, StoreError, raw};

/// Checks the backup in `folder`: the digest of every file, SQLite's integrity check, the chain of every journal from
/// its first entry to its stored mark, and the manifest against all that.
///
/// # Errors
///
/// It is no backup, or [`BackupError::Damaged`] says what is wrong where.
pub fn check(folder: &Path, progress: Progress<'_>) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(folder)?;
    sums(folder, progress)?;
    let damaged = |reason: String| BackupError::damaged(folder, reason);
    integrity(folder, progress)?;
    let found = Manifest::of(folder, manifest.at(), &mut |_, _, _| {})?;
    // the build that took it need not be the one that checks it
    let found = Manifest { build: manifest.build.clone(), ..found };
    if found != manifest {
        return Err(damaged(format!("{MANIFEST} does not say what {DATABASE} holds")));
    }
    chains(folder, manifest.entries, progress)?;
    Ok(manifest)
}

/// Every file is listed and has its digest.
fn sums(folder: &Path, progress: Progress<'_>) -> Result<(), BackupError> {
    let path = folder.join(SUMS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(not_whole(folder, SUMS)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(BackupError::damaged(folder, format!("{SUMS} is no text")));
        }
        Err(error) => return Err(BackupError::io("read", &path)(error)),
    };
    let listed: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once("  ")).collect();
    let names: Vec<&str> = listed.iter().map(|(_, name)| *name).collect();
    if names != [DATABASE, keys::NAME, MANIFEST] {
        return Err(BackupError::damaged(folder, format!("{SUMS} does not list its files")));
    }
    for (expected, name) in listed {
        let path = folder.join(name);
        if !path.exists() {
            return Err(not_whole(folder, name));
        }
        if manifest::digest(&path, progress)?.hex != expected {
            return Err(BackupError::damaged(folder, format!("{name} has another digest than {SUMS} says")));
        }
    }
    Ok(())
}

fn integrity(folder: &Path, progress: Progress<'_>) -> Result<(), BackupError> {
    progress(Step::Integrity, 0, 1);
    let conn = manifest::open(folder)?;
    let said = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    let reason = match said {
        Ok(said) if said == "ok" => {
            progress(Step::Integrity, 1, 1);
            return Ok(());
        }
        Ok(said) => said,
        Err(error) => error.to_string(),
    };
    Err(BackupError::damaged(folder, format!("{DATABASE}: {reason}")))
}

fn chains(folder: &Path, entries: u64, progress: Progress<'_>) -> Result<(), BackupError> {
    let conn = manifest::open(folder)?;
    let mut done = 0;
    let of = |journal: &Journal, error: StoreError| match error {
        StoreError::Damaged(reason) => {
            BackupError::damaged(folder, format!("journal {} of agent {}: {reason}", journal.stream, journal.agent))
        }
        error => BackupError::Store(error),
    };
    for (row, journal) in manifest::down(&conn)? {
        down::journal::verify(&conn, row).map_err(|error| of(&journal, error))?;
    }
    for (row, stored, journal) in manifest::journals(&conn)? {
        let mut count = |entries_more| {
            done += entries_more;
            progress(Step::Chains, done.min(entries), entries);
        };
        raw::verify(&conn, row, stored, &mut count).map_err(|error| of(&journal, error))?;
    }
    Ok(())
}
