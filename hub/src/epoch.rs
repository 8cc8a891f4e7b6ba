//! Which life of the hub this is, kept in a small file beside the database: `hub.epoch`.
//!
//! The database carries the same stamp. A database put back by hand carries an older one than the file, which is how
//! the hub notices that it came back older. `turn` rises at each start and each clean end, in the database first; so
//! the database may be one turn ahead after a crash, and never behind.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;

/// The file's name in the data folder.
pub const NAME: &str = "hub.epoch";

/// No stamp is longer, in bytes.
const STAMP_BYTES: u64 = 1024;

/// What database and file both carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Raised whenever the hub came back older.
    pub epoch: u64,
    /// Raised at each start and each clean end.
    pub turn: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// It cannot be read or written.
    #[error("could not {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It says nothing that makes sense. Removing it makes the hub treat its database as restored, which is safe.
    #[error("{path} is damaged; remove it, and the hub treats its database as restored")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
}

/// The stamp in `dir`; none where there is no file.
///
/// # Errors
///
/// The file cannot be read, or is damaged.
pub fn read(dir: &Path) -> Result<Option<Stamp>, EpochError> {
    let path = dir.join(NAME);
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(EpochError::Io { action: "open", path, source }),
    };
    let mut text = Vec::new();
    if let Err(source) = file.take(STAMP_BYTES).read_to_end(&mut text) {
        return Err(EpochError::Io { action: "read", path, source });
    }
    serde_json::from_slice(&text).map(Some).map_err(|_| EpochError::Damaged { path })
}

/// Writes the stamp durably.
///
/// # Errors
///
/// The disk refuses.
pub fn write(dir: &Path, stamp: Stamp) -> Result<(), EpochError> {
    let text = serde_json::to_vec(&stamp).expect("two numbers always encode");
    let failed = |source| EpochError::Io { action: "write", path: dir.join(NAME), source };
    durable::replace(dir, NAME, &text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_written_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let stamp = Stamp { epoch: 3, turn: 41 };
        write(dir.path(), stamp).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(stamp));
        std::fs::write(dir.path().join(NAME), "{\"epoch\":3").unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("is damaged; remove it, and the hub treats its database as restored"), "{error}");
    }
}
