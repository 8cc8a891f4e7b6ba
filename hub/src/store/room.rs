//! How much room the hub's disk has, and the reserve that lets a hub start and answer on a full one.
//!
//! Short of room the hub takes nothing new: agents keep what is not acknowledged, so nothing is lost by waiting. What is
//! left is for processing what was taken, for people's decisions, and for the write-ahead log to be folded back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use waystation_protocol::room::Room;

use crate::durable;

/// What the reserve occupies, in bytes …
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// … but no more than this part of a small disk.
const RESERVE_PART: u64 = 16;

/// Below this even a start fails: the log's index alone takes half of it.
const LEAST_BYTES: u64 = 64 * 1024;

const RESERVE: &str = "hub.reserve";

/// The disk of a data folder.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    pub(crate) fn of(dir: &Path) -> Disk {
        Disk { dir: dir.to_owned() }
    }

    /// The room there is. A reserve that was given up counts as occupied: it is to be occupied again first.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let (room, whole) = self.look()?;
        Ok(room.without(reserve_of(whole).saturating_sub(self.held())))
    }

    /// Whether so little is left that whatever failed just now failed for that.
    pub(crate) fn is_out(&self) -> bool {
        self.look().is_ok_and(|(room, _)| room.free < LEAST_BYTES)
    }

    /// Occupies the reserve, if it is not and there is room for it.
    pub(crate) fn occupy_reserve(&self) -> io::Result<()> {
        let (_, whole) = self.look()?;
        let bytes = reserve_of(whole);
        if self.held() >= bytes || self.room()?.is_short() {
            return Ok(());
        }
        self.give_up_reserve();
        let written = occupy(&self.reserve(), bytes);
        if written.is_err() {
            self.give_up_reserve();
        }
        written
    }

    /// Gives the reserve back to the disk; whether there was one.
    pub(crate) fn give_up_reserve(&self) -> bool {
        match fs::remove_file(self.reserve()) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the reserve could not be given up");
                }
                false
            }
        }
    }

    /// The room as the system tells it, and the whole disk's size.
    fn look(&self) -> io::Result<(Room, u64)> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        let room = Room { used: bytes(stat.f_blocks.saturating_sub(stat.f_bfree)), free: bytes(stat.f_bavail) };
        Ok((room, bytes(stat.f_blocks)))
    }

    fn held(&self) -> u64 {
        fs::metadata(self.reserve()).map_or(0, |meta| meta.len())
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join(RESERVE)
    }
}

fn reserve_of(whole: u64) -> u64 {
    RESERVE_BYTES.min(whole / RESERVE_PART)
}

fn occupy(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file: File = durable::create(path)?;
    match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        // a file system that cannot: blocks written are occupied as well
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            io::copy(&mut io::Read::take(io::repeat(0), bytes), &mut file)?;
            file.flush()?;
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_occupied_once_and_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::of(dir.path());
        assert_eq!(disk.held(), 0);
        disk.occupy_reserve().unwrap();
        disk.occupy_reserve().unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(disk.reserve()).unwrap());
        assert!(blocks * 512 >= disk.held() && disk.held() > 0, "{blocks} blocks for {} bytes", disk.held());
        assert!(disk.give_up_reserve() && !disk.give_up_reserve());
        assert_eq!(disk.held(), 0);
    }
}
