//! How much room the hub's disk has, and the reserve that lets a hub start and answer on a full one.
//!
//! Short of room the hub takes nothing new: agents keep what is not acknowledged, so nothing is lost by waiting. What is
//! left is for processing what was taken, for people's decisions, and for the write-ahead log to be folded back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::durable;

/// What the reserve occupies, in bytes …
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// … but no more than this part of a small disk.
const RESERVE_PART: u64 = 16;

/// At this use of its disk, in percent, the hub takes nothing new …
const FULL_PERCENT: u64 = 95;
/// … unless this much is free all the same.
const AMPLE_BYTES: u64 = 1 << 30;

/// Below this even a start fails: the log's index alone takes half of it.
const LEAST_BYTES: u64 = 64 * 1024;

const RESERVE: &str = "hub.reserve";

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Occupied by anybody.
    pub used: u64,
    /// Left for the hub.
    pub free: u64,
}

impl Room {
    /// Whether the hub takes nothing new.
    #[must_use]
    pub fn is_short(self) -> bool {
        let whole = u128::from(self.used) + u128::from(self.free);
        u128::from(self.used) * 100 >= whole * u128::from(FULL_PERCENT) && self.free < AMPLE_BYTES
    }
}

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
        let (Room { used, free }, whole) = self.look()?;
        let missing = reserve_of(whole).saturating_sub(self.held());
        Ok(Room { used: used + missing, free: free.saturating_sub(missing) })
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
    fn room_is_short_at_95_percent_of_a_small_disk() {
        const MIB: u64 = 1 << 20;
        for (used, free, expected) in [
            (94 * MIB, 6 * MIB, false),
            (95 * MIB, 5 * MIB, true),
            (100 * MIB, 0, true),
            (99_000 * MIB, 1_000 * MIB, true),
            (3_900_000 * MIB, 100_000 * MIB, false),
        ] {
            assert_eq!(Room { used, free }.is_short(), expected, "{used} used, {free} free");
        }
    }

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
