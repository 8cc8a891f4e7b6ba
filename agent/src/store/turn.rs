//! `agent.turn`: the small file beside the database that tells how often it was opened, and how it was last closed.
//!
//! It is whole or not there. A database put back by hand carries an older turn than the file. After a clean close the
//! file also says what the database's file was to the byte, so that opening notices damage without checking every page.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use waystation_protocol::chain::{Hash, Mark, Seq};

use super::disk;
use super::error::StoreError;

const NAME: &str = "agent.turn";
/// No such file is longer, in bytes.
const BYTES: u64 = 1024;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TurnFile {
    /// Raised at each opening.
    pub(super) turn: u64,
    /// How the database was closed in this turn; none while it is open, or if it was not closed in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) closed: Option<Closed>,
}

/// A database as it was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    /// BLAKE3 of its file, in hexadecimal digits.
    pub(super) digest: String,
    /// How far its journal goes.
    pub(super) head: u64,
    /// The chain's hash there, in hexadecimal digits.
    pub(super) hash: String,
}

impl Closed {
    /// The end of the journal as it was closed.
    pub(super) fn head(&self) -> Option<Mark> {
        let hash = data_encoding::HEXLOWER.decode(self.hash.as_bytes()).ok()?;
        Some(Mark { seq: Seq(self.head), hash: Hash::from_slice(&hash)? })
    }
}

/// Reads the file of a folder; none where there is none that makes sense, which then counts as missing.
pub(super) fn read(dir: &Path) -> Option<TurnFile> {
    let mut text = Vec::new();
    File::open(dir.join(NAME)).and_then(|file| file.take(BYTES).read_to_end(&mut text)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Replaces the file, durably.
pub(super) fn write(dir: &Path, file: &TurnFile) -> Result<(), StoreError> {
    let text = serde_json::to_vec(file).map_err(io::Error::other);
    let replaced = text.and_then(|text| replace(dir, NAME, &text));
    replaced.map_err(StoreError::io(format!("write {}", dir.join(NAME).display())))
}

/// Replaces `dir/name` by `bytes`: after a crash it holds the old bytes or the new ones.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unnamed = dir.join(format!("{name}.new"));
    let mut file = disk::private().write(true).create(true).truncate(true).open(&unnamed)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unnamed, dir.join(name))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_counts_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        let closed = Closed { digest: "00".into(), head: 7, hash: "11".into() };
        for closed in [None, Some(closed)] {
            let file = TurnFile { turn: 3, closed };
            write(dir.path(), &file).unwrap();
            assert_eq!(read(dir.path()), Some(file));
        }
        fs::write(dir.path().join(NAME), "{\"turn\":").unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
