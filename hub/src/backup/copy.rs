//! Writing a backup: the database as of one commit, the key, the manifest, the digests.
//!
//! SQLite's backup API copies pages while one read transaction is held open, so that the copy is one commit's state
//! and never begins anew. In WAL mode a reader holds up no writer; the log only grows by what is written meanwhile.
//! (`VACUUM INTO` reads under the same kind of transaction, but rebuilds every table: more work beside a busy hub, no
//! progress to tell.)

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use waystation_protocol::time::Timestamp;

use super::manifest::{Manifest, write_sums};
use super::{BackupError, Progress, Step};
use crate::durable;
use crate::keys;
use crate::store::{DATABASE, life, open_reader};

/// Pages of 8 KiB copied in one go: 8 MiB, some milliseconds.
const PAGES: i32 = 1024;

/// A page that somebody holds becomes free soon.
const HELD: Duration = Duration::from_millis(20);

/// Writes everything into `folder`, which is fresh, and syncs it.
pub(super) fn write(data: &Path, folder: &Path, now: Timestamp, progress: Progress<'_>) -> Result<(), BackupError> {
    let Some(key) = keys::load(data)? else {
        return Err(BackupError::NoHub { dir: data.to_owned() });
    };
    let path = folder.join(DATABASE);
    durable::create(&path).map_err(BackupError::io("make", &path))?;
    database(data, &path, now, progress)?;
    File::open(&path).and_then(|file| file.sync_all()).map_err(BackupError::io("sync", &path))?;
    durable::replace(folder, keys::NAME, key.as_bytes()).map_err(BackupError::io("write", &folder.join(keys::NAME)))?;
    let manifest = Manifest::of(folder, now, progress)?;
    manifest.write(folder)?;
    write_sums(folder, &manifest)
}

fn database(data: &Path, path: &Path, now: Timestamp, progress: Progress<'_>) -> Result<(), BackupError> {
    let source = open_reader(data)?;
    source.execute_batch("BEGIN")?;
    // a read transaction begins with its first reading
    source.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    let mut copy = Connection::open(path)?;
    {
        let pages = Backup::new(&source, &mut copy)?;
        loop {
            let stepped = pages.step(PAGES)?;
            let (all, left) = (pages.progress().pagecount, pages.progress().remaining);
            progress(Step::Copy, u64::try_from(all - left).unwrap_or(0), u64::try_from(all).unwrap_or(0));
            match stepped {
                StepResult::Done => break,
                StepResult::More => {}
                _ => std::thread::sleep(HELD),
            }
        }
    }
    source.execute_batch("COMMIT")?;
    // one file, and nothing beside it when it is opened to be checked
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    life::mark_copy(&copy, now)?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(())
}
