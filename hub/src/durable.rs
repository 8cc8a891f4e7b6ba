//! Small files that are either whole or not there: written beside their name, synced, renamed, the folder synced.
//!
//! Whatever is written here holds secrets or everything else, so only its owner may read it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Replaces `dir/name` by `bytes`. After a crash it holds the old bytes or the new ones.
///
/// # Errors
///
/// The folder or the disk refuses.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    sync_folder(dir)
}

/// A new file for its owner alone.
///
/// # Errors
///
/// There is one already, or the folder refuses.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A new folder for its owner alone; its parents are made where they are missing.
///
/// # Errors
///
/// There is one already, or its parent refuses.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        ensure_folder(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A folder that is there already, or is made for its owner alone, its parents too.
///
/// # Errors
///
/// Its parent refuses, or something else has its name.
pub fn ensure_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The names in a folder survive a power cut from here on.
///
/// # Errors
///
/// The disk refuses.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
