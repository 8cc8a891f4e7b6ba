//! Digests of rows that memory no longer holds, counted in a file without a name.
//!
//! They come in large batches, which are written in their order: one by one they would fall on a page each. A filter
//! in memory knows most of those that are not there. A digest is added once.
//!
//! The file loses its name before its first byte is written, so it is gone with this process however that ends. It is
//! a redb database whose one transaction is never committed: nothing in it has to outlive anything.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableTable, TableDefinition, WriteTransaction};

use super::limits::{DIGEST_CACHE_BYTES, FILTER_BITS};

const COUNTS: TableDefinition<'_, u64, u32> = TableDefinition::new("counts");

/// Rows can no longer be told apart.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot tell rows apart beyond those that memory holds, in a file in {dir}: make room there, 30 MB for a million \
     rows, and import again, nothing is captured twice"
)]
pub struct SpillError {
    /// Where the file is.
    pub dir: PathBuf,
    /// What the system said.
    #[source]
    pub source: redb::Error,
}

/// How often each digest was seen.
pub(super) struct Spill {
    dir: PathBuf,
    filter: Filter,
    write: WriteTransaction,
    _database: Database,
}

impl Spill {
    /// Begins in `dir`, or where the system keeps temporary files if nothing can be created there.
    pub(super) fn begin(dir: &Path) -> Result<Spill, SpillError> {
        let (file, dir) = match unnamed(dir) {
            Ok(file) => (file, dir.to_owned()),
            Err(_) => {
                let dir = std::env::temp_dir();
                let file = unnamed(&dir).map_err(|error| SpillError { dir: dir.clone(), source: error.into() })?;
                (file, dir)
            }
        };
        Spill::of_file(file, &dir).map_err(|source| SpillError { dir, source })
    }

    fn of_file(file: File, dir: &Path) -> Result<Spill, redb::Error> {
        let backend = FileBackend::new(file)?;
        let database = Builder::new().set_cache_size(DIGEST_CACHE_BYTES).create_with_backend(backend)?;
        let write = database.begin_write()?;
        Ok(Spill { dir: dir.to_owned(), filter: Filter::new(), write, _database: database })
    }

    /// Adds digests that are not here yet, each with how often it was seen.
    pub(super) fn add(&mut self, mut digests: Vec<(u64, u32)>) -> Result<(), SpillError> {
        digests.sort_unstable();
        digests.iter().for_each(|(digest, _)| self.filter.add(*digest));
        let add = || -> Result<(), redb::Error> {
            let mut counts = self.write.open_table(COUNTS)?;
            for (digest, count) in &digests {
                counts.insert(digest, count)?;
            }
            Ok(())
        };
        add().map_err(|source| SpillError { dir: self.dir.clone(), source })
    }

    /// Counts a digest once more, if it is here; how often it was seen now.
    pub(super) fn count(&mut self, digest: u64) -> Result<Option<u32>, SpillError> {
        if !self.filter.may_have(digest) {
            return Ok(None);
        }
        let count = || -> Result<Option<u32>, redb::Error> {
            let mut counts = self.write.open_table(COUNTS)?;
            let Some(before) = counts.get(digest)?.map(|count| count.value()) else { return Ok(None) };
            let count = before.saturating_add(1);
            counts.insert(digest, count)?;
            Ok(Some(count))
        };
        count().map_err(|source| SpillError { dir: self.dir.clone(), source })
    }
}

/// A Bloom filter of numbers that are random already.
struct Filter(Vec<u64>);

impl Filter {
    fn new() -> Filter {
        Filter(vec![0; FILTER_BITS / 64])
    }

    fn add(&mut self, digest: u64) {
        places(digest).for_each(|place| self.0[place / 64] |= 1 << (place % 64));
    }

    /// False only of what was never added.
    fn may_have(&self, digest: u64) -> bool {
        places(digest).all(|place| self.0[place / 64] & (1 << (place % 64)) != 0)
    }
}

/// The bits that stand for a number.
fn places(digest: u64) -> impl Iterator<Item = usize> {
    let (first, step) = (digest as usize, (digest >> 32) as usize | 1);
    (0..4).map(move |place| first.wrapping_add(step.wrapping_mul(place)) % FILTER_BITS)
}

/// A new file in `dir` that nobody else can find.
fn unnamed(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    for number in 0.. {
        let path = dir.join(format!("import-{}-{number}.tmp", std::process::id()));
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {}
            Err(error) => return Err(error),
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_counted_and_no_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::begin(folder.path()).unwrap();
        spill.add((0..100_000).map(|digest| (digest * 7, 1)).collect()).unwrap();
        spill.add(vec![(8, 4), (1 << 40, 1)]).unwrap();
        let counts = [7, 7, 1, 7, 8, 8, 1 << 40, 1 << 41].map(|digest| spill.count(digest).unwrap());
        assert_eq!(counts, [Some(2), Some(3), None, Some(4), Some(5), Some(6), Some(2), None]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_replaced_by_the_systems() {
        let spill = Spill::begin(Path::new("/no/such/folder")).unwrap();
        assert_eq!(spill.dir, std::env::temp_dir());
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_with_its_folder() {
        let full = OpenOptions::new().read(true).open("/dev/null").unwrap();
        let error = Spill::of_file(full, Path::new("/data")).map(|_| ()).unwrap_err();
        let error = SpillError { dir: "/data".into(), source: error };
        assert!(error.to_string().contains("in a file in /data: make room there"), "{error}");
    }
}
