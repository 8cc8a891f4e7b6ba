//! A disk in memory that keeps its promises and no more: what was not synced survives a cut sector by sector, or not.
//!
//! One disk outlives many openings of the store on it. Each opening has its own handle, and a handle from before a cut
//! can change nothing any more. A failed sync keeps what a cut would keep: what is read again is what is on the disk.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Builder, StorageBackend};
use waystation_agent::store::Opener;
use waystation_protocol::plant::{Plant, is_planted};

use crate::chance::Chance;

/// Disks lose and keep whole sectors.
const SECTOR: usize = 512;
/// The page cache of a simulated store: its databases are small.
const CACHE_BYTES: usize = 1024 * 1024;

/// A disk with one file.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

/// What a disk holds without power, to be copied or put back.
#[derive(Debug, Clone)]
pub(crate) struct Image(Vec<u8>);

impl Image {
    /// Of a file's bytes.
    pub(crate) fn of(bytes: Vec<u8>) -> Image {
        Image(bytes)
    }

    /// The file's bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What was done to a disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Damage {
    /// Sectors that a cut undid.
    pub lost_sectors: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Times it was full.
    pub full: u64,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    /// What sectors held when they were last synced, for those written since.
    before: BTreeMap<usize, [u8; SECTOR]>,
    synced_len: usize,
    /// Raised by each opening and each cut: handles of an earlier life are dead.
    life: u64,
    /// Changes until the power fails by itself.
    cut_in: Option<u64>,
    is_cut: bool,
    /// The last change was the one that met the cut.
    is_torn: bool,
    fails_to_sync: bool,
    limit: usize,
    chance: Chance,
    damage: Damage,
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    life: u64,
}

impl Disk {
    /// An empty disk.
    pub(crate) fn new(chance: Chance) -> Disk {
        Disk::of(&Image(Vec::new()), chance)
    }

    /// A disk with a copy of what another held.
    pub(crate) fn of(image: &Image, chance: Chance) -> Disk {
        let bytes = image.0.clone();
        Disk(Arc::new(Mutex::new(Inner {
            synced_len: bytes.len(),
            bytes,
            before: BTreeMap::new(),
            life: 0,
            cut_in: None,
            is_cut: false,
            is_torn: false,
            fails_to_sync: false,
            limit: usize::MAX,
            chance,
            damage: Damage::default(),
        })))
    }

    /// Whether nothing was ever written to it.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().bytes.is_empty()
    }

    /// Opens databases on this disk. A path that ends in `.new` begins an empty file.
    pub(crate) fn opener(&self) -> Opener {
        let disk = self.clone();
        Arc::new(move |path: &Path| {
            let handle = disk.open(path.extension().is_some_and(|extension| extension == "new"));
            Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(handle)
        })
    }

    fn open(&self, is_new: bool) -> Handle {
        let mut inner = self.lock();
        if is_new {
            inner.set_len(0);
        }
        inner.life += 1;
        Handle { disk: self.clone(), life: inner.life }
    }

    /// The power fails after so many more changes, if it does not before.
    pub(crate) fn cut_in(&self, changes: u64) {
        self.lock().cut_in = Some(changes);
    }

    /// Whether the power failed by itself since the last [`Disk::cut`] or [`Disk::kill`].
    pub(crate) fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// Whether anything is wrong with it now.
    pub(crate) fn is_failing(&self) -> bool {
        let inner = self.lock();
        inner.is_cut || inner.fails_to_sync || inner.limit < usize::MAX
    }

    /// The power fails, and returns: each unsynced sector survived or not.
    pub(crate) fn cut(&self) {
        let mut inner = self.lock();
        inner.lose_unsynced();
        inner.end_life();
    }

    /// The process is killed: what reached the system stays.
    pub(crate) fn kill(&self) {
        self.lock().end_life();
    }

    /// From now on syncs fail, or no longer.
    pub(crate) fn set_failing(&self, fails_to_sync: bool) {
        self.lock().fails_to_sync = fails_to_sync;
    }

    /// From now on the file cannot grow, or can again.
    pub(crate) fn set_full(&self, is_full: bool) {
        let mut inner = self.lock();
        inner.limit = if is_full { inner.bytes.len() } else { usize::MAX };
    }

    /// What the disk would hold if the power were cut with nothing unsynced kept.
    pub(crate) fn image(&self) -> Image {
        let inner = self.lock();
        let mut bytes = inner.bytes.clone();
        for (sector, old) in &inner.before {
            put(&mut bytes, *sector, old);
        }
        bytes.resize(inner.synced_len, 0);
        Image(bytes)
    }

    /// What was done to it so far.
    pub(crate) fn damage(&self) -> Damage {
        self.lock().damage
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("a disk is not held while anything can panic")
    }
}

impl Inner {
    fn end_life(&mut self) {
        self.life += 1;
        self.is_cut = false;
        self.cut_in = None;
    }

    /// Keeps of the unsynced sectors some, and of the length the old or the new.
    fn lose_unsynced(&mut self) {
        for (sector, old) in std::mem::take(&mut self.before) {
            if self.chance.percent(50) {
                self.damage.lost_sectors += 1;
                put(&mut self.bytes, sector, &old);
            }
        }
        if self.chance.percent(50) {
            self.bytes.resize(self.synced_len, 0);
        }
        self.synced_len = self.bytes.len();
    }

    /// One more change; an error where the power is gone.
    fn change(&mut self) -> io::Result<()> {
        self.is_torn = !self.is_cut && self.cut_in == Some(0);
        self.is_cut |= self.is_torn;
        self.cut_in = self.cut_in.map(|left| left.saturating_sub(1));
        if self.is_cut { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    fn set_len(&mut self, len: usize) {
        for sector in len / SECTOR..self.bytes.len().div_ceil(SECTOR) {
            self.remember(sector);
        }
        self.bytes.resize(len, 0);
    }

    fn remember(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let mut old = [0; SECTOR];
        if start < self.bytes.len() {
            let end = (start + SECTOR).min(self.bytes.len());
            old[..end - start].copy_from_slice(&self.bytes[start..end]);
        }
        self.before.entry(sector).or_insert(old);
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.remember(sector);
        }
        self.bytes[offset..end].copy_from_slice(data);
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.fails_to_sync {
            self.damage.failed_syncs += 1;
            self.lose_unsynced();
            return Err(io::Error::from_raw_os_error(5));
        }
        if !is_planted(Plant::LyingFsync) {
            self.before.clear();
            self.synced_len = self.bytes.len();
        }
        Ok(())
    }
}

fn put(bytes: &mut [u8], sector: usize, content: &[u8; SECTOR]) {
    let start = sector * SECTOR;
    if start < bytes.len() {
        let end = (start + SECTOR).min(bytes.len());
        bytes[start..end].copy_from_slice(&content[..end - start]);
    }
}

fn index(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::Error::from(ErrorKind::InvalidInput))
}

impl Handle {
    fn lock(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        if inner.life == self.life { Ok(inner) } else { Err(io::Error::other("this process is dead")) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.lock()?;
        let start = index(offset)?;
        let found = inner.bytes.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.lock()?;
        inner.change()?;
        let len = index(len)?;
        if len > inner.limit {
            inner.damage.full += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        inner.set_len(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock()?;
        inner.change()?;
        inner.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.lock()?;
        let start = index(offset)?;
        if let Err(gone) = inner.change() {
            // the write under way when the power went: some of its sectors are on the disk
            if inner.is_torn && start + data.len() <= inner.bytes.len() {
                inner.write(start, data);
            }
            return Err(gone);
        }
        if start + data.len() > inner.bytes.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        inner.write(start, data);
        Ok(())
    }
}
