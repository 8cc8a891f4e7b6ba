//! The data folder: who holds it, how its database is opened, and how much room is left.
//!
//! One process at a time holds the folder, by a lock on the file `lock` that outlives a reopened database. The file
//! `reserve` occupies room that is given up when the disk runs full, so that sync and pruning can go on.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError};
use waystation_protocol::room::Room;

use super::error::StoreError;
use super::turn::{self, TurnFile};

/// The database's file within its folder.
pub(super) const STORE: &str = "store.redb";

/// redb's page cache. The journal is written at its end and read in order: more gains nothing.
pub(super) const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Opens the database at a path, and creates it where there is none.
pub type Opener = Arc<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// Opens the database as a file.
pub(super) fn open_file(path: &Path) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(CACHE_BYTES).create(path)
}

/// A data folder held by this process.
pub(super) struct Folder {
    dir: PathBuf,
    reserve_bytes: u64,
    /// Whether the database is the file of its name; if not, the file says nothing of it.
    pub(super) is_file: bool,
    _lock: File,
}

impl Folder {
    /// Creates the folder if need be, readable by its owner alone, and holds it until dropped.
    pub(super) fn take(dir: &Path, reserve_bytes: u64, is_file: bool) -> Result<Folder, StoreError> {
        let doing = || format!("create the data folder {}", dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io(doing()))?;
        let path = dir.join("lock");
        let lock = private().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(StoreError::io(format!("open {}", path.display())))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { dir: dir.to_owned(), reserve_bytes, is_file, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StoreError::io(format!("lock {}", path.display()))(error)),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `agent.turn` says, if it says anything.
    pub(super) fn turn_file(&self) -> Option<TurnFile> {
        turn::read(&self.dir)
    }

    pub(super) fn has_database(&self) -> bool {
        self.database().exists()
    }

    /// Opens the database that is there.
    pub(super) fn open(&self, opener: &Opener) -> Result<Database, StoreError> {
        match opener(&self.database()) {
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::InUse { dir: self.dir.clone() }),
            opened => Ok(opened?),
        }
    }

    /// Creates a database, lets `fill` write its first rows, and only then gives it its name: a start that is cut
    /// short leaves nothing behind that looks like a store.
    pub(super) fn create(
        &self,
        opener: &Opener,
        fill: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<Database, StoreError> {
        let database = self.create_beside(opener, fill)?;
        let io = |doing: &str| StoreError::io(format!("{doing} {}", self.unnamed().display()));
        fs::rename(self.unnamed(), self.database()).map_err(io("rename"))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io("sync the folder of"))?;
        Ok(database)
    }

    /// Creates a database that has no name yet, and lets `fill` write its first rows.
    pub(super) fn create_beside(
        &self,
        opener: &Opener,
        fill: impl FnOnce(&Database) -> Result<(), StoreError>,
    ) -> Result<Database, StoreError> {
        let unnamed = self.unnamed();
        let io = |doing: &str| StoreError::io(format!("{doing} {}", unnamed.display()));
        match fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove")(error)),
            Ok(()) | Err(_) => {}
        }
        private().write(true).create_new(true).open(&unnamed).map_err(io("create"))?;
        let database = opener(&unnamed)?;
        fill(&database)?;
        Ok(database)
    }

    /// Where a database is until it has its name.
    pub(super) fn unnamed(&self) -> PathBuf {
        self.dir.join("store.redb.new")
    }

    /// How much of the disk the database's file takes, in bytes, holes not counted; 0 if that is not known.
    pub(super) fn database_bytes(&self) -> u64 {
        fs::metadata(self.database()).map_or(0, |meta| meta.blocks() * 512)
    }

    /// Whether there is no room for captures. A reserve that was given up counts as occupied: it is not theirs.
    pub(super) fn is_short(&self) -> Result<bool, StoreError> {
        let missing = self.reserve_bytes.saturating_sub(self.held());
        Ok(room(&self.dir)?.without(missing).is_short())
    }

    /// Bytes of the reserve that are occupied.
    fn held(&self) -> u64 {
        fs::metadata(self.reserve()).map_or(0, |meta| meta.len())
    }

    /// Occupies the reserve, if it is not and the room for it is there.
    pub(super) fn occupy_reserve(&self) -> Result<(), StoreError> {
        let path = self.reserve();
        if self.held() >= self.reserve_bytes || self.is_short()? {
            return Ok(());
        }
        let written = self.write_reserve(&path);
        if written.is_err() {
            self.give_up_reserve();
        }
        written.map_err(StoreError::io(format!("write {}", path.display())))
    }

    /// Gives the reserve back to the disk.
    pub(super) fn give_up_reserve(&self) {
        if let Err(error) = fs::remove_file(self.reserve())
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the reserve could not be given up");
        }
    }

    fn write_reserve(&self, path: &Path) -> io::Result<()> {
        let mut file = private().write(true).create(true).truncate(true).open(path)?;
        let block = [0u8; 16 * 1024];
        let mut left = self.reserve_bytes;
        while left > 0 {
            let length = left.min(block.len() as u64);
            file.write_all(&block[..length as usize])?;
            left -= length;
        }
        file.sync_all()
    }

    /// Where the database's file is.
    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }
}

/// How much room there is on the disk of `dir`.
pub(super) fn room(dir: &Path) -> Result<Room, StoreError> {
    let doing = format!("ask for the room under {}", dir.display());
    let stat = rustix::fs::statvfs(dir).map_err(|errno| StoreError::io(doing)(errno.into()))?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    Ok(Room { used, free: stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// For files that only their owner may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}
