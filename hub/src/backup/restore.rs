//! Putting a backup in place of a hub's data, with the epoch raised.
//!
//! Everything is staged and synced in the data folder first; then the old files move aside and the new ones in, in an
//! order that can be taken up again after a cut at any point. The old files are never deleted.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use waystation_protocol::time::Timestamp;

use super::manifest::Manifest;
use super::{BackupError, Progress, Step, check, is_unfinished, minute_name};
use crate::epoch::{self, Stamp};
use crate::store::heads::{self, Head};
use crate::store::life::{self, Own};
use crate::store::restore::{Begin, Cause, begin};
use crate::store::{self, DATABASE, StoreError};
use crate::{durable, keys};

/// Where the new files are made ready.
const STAGE: &str = "restore.unfinished";

/// The same once they are whole: from here on the restore can only be finished.
const READY: &str = "restore.ready";

/// Files of a hub, in the order in which they change places: the log of the old database must never meet the new one.
const FILES: [&str; 6] = ["hub.sqlite-wal", "hub.sqlite-shm", heads::NAME, keys::NAME, epoch::NAME, DATABASE];

/// Names tried for what is kept aside.
const NAMES: usize = 100;

/// A backup in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was put in place; none where only a restore that was cut off was finished.
    pub manifest: Option<Manifest>,
    /// The epoch the hub begins.
    pub epoch: u64,
    /// Where the files that were there before are kept.
    pub kept: Option<PathBuf>,
    /// Journals of which more is known than the backup holds.
    pub behind: usize,
    /// Later backups of this hub that lie beside it: agents may have deleted what only these hold.
    pub newer: Vec<PathBuf>,
}

/// What was known in the data folder before.
struct Before {
    heads: Vec<Head>,
    stamp: Stamp,
}

/// Whether a restore into `dir` was cut off between the old files and the new ones.
pub(crate) fn is_cut_off(dir: &Path) -> bool {
    dir.join(READY).exists()
}

/// Checks the backup in `folder` and puts it in place of whatever hub is in `data`.
///
/// # Errors
///
/// A hub runs there, there is one and `is_replacing` is false, or the backup is damaged; then nothing has changed.
pub fn restore(
    folder: &Path,
    data: &Path,
    is_replacing: bool,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<Restored, BackupError> {
    durable::ensure_folder(data).map_err(BackupError::io("make folder", data))?;
    let _lock = store::lock(data)?;
    if is_cut_off(data) {
        let kept = swap(data, now)?;
        let epoch = epoch::read(data)?.map_or(1, |stamp| stamp.epoch);
        return Ok(Restored { manifest: None, epoch, kept, behind: 0, newer: Vec::new() });
    }
    if !is_replacing && [DATABASE, keys::NAME].iter().any(|name| data.join(name).exists()) {
        return Err(BackupError::Occupied { dir: data.to_owned() });
    }
    if is_unfinished(folder) {
        let reason = "it was not finished".to_owned();
        return Err(BackupError::NotABackup { folder: folder.to_owned(), reason });
    }
    let manifest = check(folder, progress)?;
    let staged = stage(folder, &manifest, data, now, progress).map_err(|error| error.on_disk_of(data));
    let (stamp, behind) = match staged {
        Ok(staged) => staged,
        Err(error) => {
            // nothing but our own copies is in there
            let _ = std::fs::remove_dir_all(data.join(STAGE));
            return Err(error);
        }
    };
    let kept = swap(data, now)?;
    let newer = newer_beside(folder, &manifest);
    Ok(Restored { manifest: Some(manifest), epoch: stamp.epoch, kept, behind, newer })
}

/// Backups beside `folder` that say they are later ones of the same hub, the newest first.
fn newer_beside(folder: &Path, of: &Manifest) -> Vec<PathBuf> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let beside = folder.parent().and_then(|parent| std::fs::read_dir(parent).ok());
    let paths = beside.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut newer: Vec<(i64, PathBuf)> = paths
        .filter(|path| !is_unfinished(path))
        .filter_map(|path| Some((Manifest::read(&path).ok()?, path)))
        .filter(|(manifest, _)| manifest.hub_id == of.hub_id && manifest.taken_at_ms > of.taken_at_ms)
        .map(|(manifest, path)| (manifest.taken_at_ms, path))
        .collect();
    newer.sort_unstable_by(|left, right| right.cmp(left));
    newer.into_iter().map(|(_, path)| path).collect()
}

/// Makes the new files ready: copies, the raised epoch, and what is known to have been there.
fn stage(
    folder: &Path,
    manifest: &Manifest,
    data: &Path,
    now: Timestamp,
    progress: Progress<'_>,
) -> Result<(Stamp, usize), BackupError> {
    let stage = data.join(STAGE);
    if stage.exists() {
        std::fs::remove_dir_all(&stage).map_err(BackupError::io("remove", &stage))?;
    }
    durable::create_folder(&stage).map_err(BackupError::io("make folder", &stage))?;
    copy(folder, &stage, manifest, progress)?;
    let key = keys::load(folder)?.ok_or_else(|| BackupError::damaged(folder, "its key is gone"))?;
    durable::replace(&stage, keys::NAME, key.as_bytes()).map_err(BackupError::io("write", &stage.join(keys::NAME)))?;
    let before = before(data);
    let mut conn = store::open_writer(&stage)?;
    let tx = conn.transaction()?;
    let own = life::own(&tx)?;
    let stamp = Stamp {
        epoch: before.stamp.epoch.max(own.epoch.unwrap_or(1)) + 1,
        turn: before.stamp.turn.max(own.turn.unwrap_or(0)) + 1,
    };
    let checked = manifest.as_checked(folder, now);
    store::add_backup(&tx, &checked)?;
    let heads = heads::union(heads::gather(&tx)?, before.heads);
    let detail = format!("the backup of {} was put in place", manifest.taken_at);
    let backup = Some((checked.folder.as_str(), manifest.at()));
    begin(&tx, &Begin { epoch: stamp.epoch, at: now, cause: Cause::Restored, detail: &detail, backup }, &heads)?;
    life::put(&tx, stamp)?;
    let behind = tx.query_row(
        "SELECT count(*) FROM restore_stream WHERE settled_at IS NULL AND restore =
        (SELECT max(id) FROM restore)",
        [],
        |row| row.get::<_, i64>(0),
    )?;
    tx.commit()?;
    conn.close().map_err(|(_, error)| error)?;
    epoch::write(&stage, stamp)?;
    for name in [DATABASE, keys::NAME] {
        let path = stage.join(name);
        File::open(&path).and_then(|file| file.sync_all()).map_err(BackupError::io("sync", &path))?;
    }
    durable::sync_folder(&stage).map_err(BackupError::io("sync", &stage))?;
    std::fs::rename(&stage, data.join(READY)).map_err(BackupError::io("name", &stage))?;
    durable::sync_folder(data).map_err(BackupError::io("sync", data))?;
    Ok((stamp, usize::try_from(behind).unwrap_or(0)))
}

/// Copies the database; what arrives is what was checked.
fn copy(folder: &Path, stage: &Path, manifest: &Manifest, progress: Progress<'_>) -> Result<(), BackupError> {
    let (from, to) = (folder.join(DATABASE), stage.join(DATABASE));
    let (reading, writing) = (BackupError::io("read", &from), BackupError::io("write", &to));
    let mut source = File::open(&from).map_err(&reading)?;
    let mut target = durable::create(&to).map_err(&writing)?;
    let (mut hasher, mut chunk, mut done) = (blake3::Hasher::new(), vec![0; 1 << 20], 0);
    loop {
        let read = source.read(&mut chunk).map_err(&reading)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        target.write_all(&chunk[..read]).map_err(&writing)?;
        done += read as u64;
        progress(Step::Copy, done, manifest.database_bytes);
    }
    target.sync_all().map_err(&writing)?;
    if hasher.finalize().to_hex().as_str() == manifest.database_blake3 {
        return Ok(());
    }
    Err(BackupError::damaged(folder, "its database changed while it was copied"))
}

/// What the folder knows, as far as it can be read: a hub is often restored because its database cannot be.
fn before(data: &Path) -> Before {
    let file = epoch::read(data).unwrap_or_else(|error| {
        tracing::warn!(%error, "the epoch's file is passed over");
        None
    });
    let in_books = || -> Result<(Own, Vec<Head>), StoreError> {
        let conn = store::open_reader(data)?;
        Ok((life::own(&conn)?, heads::gather(&conn)?))
    };
    let nothing = Own { epoch: None, turn: None, copied_at: None };
    let (own, known) = if data.join(DATABASE).exists() {
        in_books().unwrap_or_else(|error| {
            tracing::warn!(%error, "the database in place cannot be read; what it held is known from hub.heads");
            (nothing, Vec::new())
        })
    } else {
        (nothing, Vec::new())
    };
    let file = file.unwrap_or(Stamp { epoch: 0, turn: 0 });
    Before {
        heads: heads::union(known, heads::load(data)),
        stamp: Stamp { epoch: file.epoch.max(own.epoch.unwrap_or(0)), turn: file.turn.max(own.turn.unwrap_or(0)) },
    }
}

/// Moves the old files aside and the new ones in. Can be taken up again after a cut: a file is new once its staged
/// name is gone.
fn swap(data: &Path, now: Timestamp) -> Result<Option<PathBuf>, BackupError> {
    let ready = data.join(READY);
    let mut aside = None;
    for name in FILES {
        let (old, new) = (data.join(name), ready.join(name));
        let is_staged = [keys::NAME, epoch::NAME, DATABASE].contains(&name);
        if is_staged && !new.exists() {
            continue;
        }
        if old.exists() {
            let folder = match &aside {
                Some(folder) => folder,
                None => aside.insert(keep_aside(data, now)?),
            };
            std::fs::rename(&old, folder.join(name)).map_err(BackupError::io("keep aside", &old))?;
            durable::sync_folder(folder).map_err(BackupError::io("sync", folder))?;
        }
        if is_staged {
            std::fs::rename(&new, &old).map_err(BackupError::io("put in place", &old))?;
        }
        durable::sync_folder(data).map_err(BackupError::io("sync", data))?;
    }
    std::fs::remove_dir_all(&ready).map_err(BackupError::io("remove", &ready))?;
    durable::sync_folder(data).map_err(BackupError::io("sync", data))?;
    Ok(aside)
}

/// A fresh folder for the old files: `replaced-2026-11-23T0830Z`.
fn keep_aside(data: &Path, now: Timestamp) -> Result<PathBuf, BackupError> {
    let minute = minute_name(now);
    for n in 1..=NAMES {
        let name = if n == 1 { format!("replaced-{minute}") } else { format!("replaced-{minute}-{n}") };
        let path = data.join(name);
        match durable::create_folder(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BackupError::io("make folder", &path)(error)),
        }
    }
    Err(BackupError::NoName { dir: data.to_owned() })
}
